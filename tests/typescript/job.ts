/* The main job with a generated client: store, rehearse, run, wait, approve, cancel, read. Prints what it saw as JSON. */

import { client } from "./client/client.gen.js";
import {
  assetCreate,
  executionApprove,
  executionCancel,
  executionCompare,
  executionEvents,
  executionList,
  executionRead,
  executionRun,
  playbookCreate,
} from "./client/sdk.gen.js";
import type { ErrorAnswer, Execution, PlaybookDefinition, State, Step, StepEvent } from "./client/types.gen.js";

declare const process: { argv: string[]; exitCode?: number };

/* Compiles only while these are known: `unknown` would take everything. */
type Known<T> = unknown extends T ? never : true;
const known: [Known<Step["output"]>, Known<Execution["outputs"]>, Known<Execution["parameters"][string]>] = [
  true,
  true,
  true,
];

const [url, token, mark] = process.argv.slice(2) as [string, string, string];
client.setConfig({ baseUrl: url, auth: () => token });

const definition: PlaybookDefinition = {
  name: `TypeScript ${mark}`,
  parameters: { type: "object", required: ["word"], properties: { word: { type: "string" } } },
  steps: [
    { id: "say", type: "action", action_ref: "core.echo", parameters: { said: "{{ parameters.word }}" } },
    { id: "ask", type: "approval", message: "Go on?" },
  ],
};

function ended(state: State): boolean {
  return state === "completed" || state === "failed" || state === "cancelled" || state === "skipped";
}

function isWhole(event: Execution | StepEvent): event is Execution {
  return "steps" in event;
}

function waits(step: Step): boolean {
  return step.waiting_for?.kind === "approval";
}

async function until(executionId: string, enough: (execution: Execution) => boolean): Promise<Execution> {
  const { stream } = await executionEvents({ path: { execution_id: executionId } });
  let seen: Execution | undefined;
  for await (const event of stream) {
    if (isWhole(event)) {
      seen = event;
    } else if (seen !== undefined) {
      const changed: Step = event.step;
      seen.steps = seen.steps.map((step) => (step.index === changed.index ? changed : step));
    }
    if (seen !== undefined && (enough(seen) || ended(seen.status))) {
      return seen;
    }
  }
  throw new Error(`the events of ${executionId} ended too early`);
}

async function start(playbookId: string, assetId: string, dryRun: boolean): Promise<Execution> {
  const { data } = await executionRun({
    path: { playbook_id: playbookId },
    headers: { "Idempotency-Key": crypto.randomUUID() },
    body: { target_asset_id: assetId, parameters: { word: "hello" }, dry_run: dryRun },
    throwOnError: true,
  });
  return data;
}

async function refused(playbookId: string, assetId: string): Promise<ErrorAnswer> {
  const { error } = await executionRun({
    path: { playbook_id: playbookId },
    body: { target_asset_id: assetId, parameters: { word: "again" } },
  });
  if (error === undefined) {
    throw new Error("the second run was not refused");
  }
  return error;
}

async function job() {
  const { data: playbook } = await playbookCreate({ body: definition, throwOnError: true });
  const { data: asset } = await assetCreate({ body: { name: "web-01", type: "host" }, throwOnError: true });

  const rehearsal = await start(playbook.id, asset.id, true);
  const rehearsed = await until(rehearsal.execution_id, () => false);

  const first = await start(playbook.id, asset.id, false);
  await until(first.execution_id, (execution) => execution.steps.some(waits));
  const conflict = await refused(playbook.id, asset.id);
  const path = { execution_id: first.execution_id, action_id: "ask" };
  await executionApprove({ path, body: { comment: "go ahead" }, throwOnError: true });
  await until(first.execution_id, () => false);
  const { data: whole } = await executionRead({
    path: { execution_id: first.execution_id },
    query: { include: "io" },
    throwOnError: true,
  });
  const { data: comparison } = await executionCompare({
    path: { execution_id: rehearsal.execution_id, other: first.execution_id },
    throwOnError: true,
  });

  const second = await start(playbook.id, asset.id, false);
  const { data: cancelled } = await executionCancel({
    path: { execution_id: second.execution_id },
    body: { reason: "wrong host" },
    throwOnError: true,
  });
  const { data: listed } = await executionList({ query: { playbook_id: playbook.id }, throwOnError: true });
  return {
    known: known.length,
    rehearsed: [rehearsed.status, rehearsed.dry_run],
    conflict: [conflict.error.code, conflict.error.execution_id === first.execution_id],
    steps: whole.steps.map((step) => [step.action_id, step.status]),
    said: whole.steps[0]?.output,
    compared: comparison.steps.map((step) => step.action_id),
    cancelled: [cancelled.status, cancelled.cancelled?.reason],
    listed: listed.data.length,
  };
}

job().then(
  (seen) => console.log(JSON.stringify(seen)),
  (fault: unknown) => {
    console.error(fault instanceof Error ? fault.stack : JSON.stringify(fault));
    process.exitCode = 1;
  },
);
