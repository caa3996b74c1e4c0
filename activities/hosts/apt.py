"""apt and dpkg on a host."""

from __future__ import annotations

import re
import shlex
from typing import Literal

from activities.errors import ActionError
from activities.hosts.packages import PackageChange, PackageManager, PackageState, Records, Wish, known_versions

LOOK = r"""
dpkg-query -W -f='installed\t${Version}\t${Architecture}\t${db:Status-Abbrev}\n' -- "$package" 2>/dev/null
apt-mark showhold -- "$package" 2>/dev/null | sed 's/^/held\t/'
apt-cache policy -- "$package" 2>/dev/null | sed -n 's/^  Candidate: /candidate\t/p'
apt-cache madison -- "$package" 2>/dev/null | sed -n 's/^[^|]*| *\([^ |]*\) *|.*/available\t\1/p'
[ -z "$(dpkg --audit 2>/dev/null)" ] && [ -z "$(ls /var/lib/dpkg/updates 2>/dev/null)" ] || printf 'broken\t1\n'
updated=$(stat -c %Y /var/lib/apt/lists /var/lib/apt/lists/partial 2>/dev/null | sort -n | tail -n 1)
[ -z "$updated" ] || printf 'age\t%s\n' $(($(date +%s) - updated))
"""

# apt-get update does not wait for its lock by itself.
REFRESH = r"""
end=$(($(date +%s) + {timeout}))
while :; do
    said=$(apt-get update -q -o APT::Update::Error-Mode=any -o DPkg::Lock::Timeout={timeout} 2>&1) && exit 0
    case $said in *"Could not get lock"*) ;; *) break ;; esac
    [ "$(date +%s)" -lt "$end" ] || break
    sleep 1
done
printf '%s\n' "$said"; exit 1
"""

# The hook runs when apt holds its locks and has everything at hand, right before the first call of dpkg; where it
# fails, apt ends without a change.  What was installed automatically, or on hold, is that afterwards too.
APPLY = r"""
export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cat >"$dir/hook" <<END
{{ mkdir "$dir/decided" && : >"$dir/decided/job"; }} 2>/dev/null || [ -e "$dir/decided/job" ]
END
if [ -n "$(dpkg --audit)" ] || [ -n "$(ls /var/lib/dpkg/updates)" ]; then
    decide || exit 130
    dpkg {conffiles} --configure -a || exit 1
fi
automatic=$(apt-mark showauto -- {package}) held=$(apt-mark showhold -- {package})
apt-get {options} -o DPkg::Pre-Invoke::="sh $dir/hook" install {wanted}
code=$?
[ -z "$automatic" ] || apt-mark auto {package} >/dev/null
[ -z "$held" ] || apt-mark hold {package} >/dev/null
[ "$code" = 0 ] || [ -e "$dir/decided/job" ] || [ ! -e "$dir/decided" ] || exit 130
exit $code
"""

REBOOT = """
if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then echo yes
elif command -v needrestart >/dev/null && [ "$(id -u)" = 0 ]; then
    needrestart -b -k 2>/dev/null | grep -q 'KSTA: [23]' && echo yes || echo no
elif [ -e /etc/kernel/postinst.d/unattended-upgrades ] || [ -e /usr/share/update-notifier/notify-reboot-required ]
then echo no
fi
"""

_PLANNED = re.compile(r"^(Inst|Remv) (\S+)(?: \[([^\]]+)\])?(?: \((\S+))?")
_KEPT = re.compile(r"^Configuration file '([^']+)'$", re.MULTILINE)


class Apt(PackageManager):
    """apt-get, non-interactive."""

    name: Literal["apt", "dnf"] = "apt"
    failures = (
        (r"Could not get lock|Unable to (acquire|lock)|Could not open lock", "locked", True),
        (r"unauthenticated packages|could not be authenticated|is not signed|NO_PUBKEY", "unauthenticated", False),
        (r"need to be removed but remove is disabled", "would_remove", False),
        (r"Held packages were changed|held packages were changed", "held", False),
        (r"enough free space|No space left on device", "disk_full", True),
        (r"unmet dependencies|held broken packages|pkgProblemResolver", "dependencies_unmet", False),
        (r"Failed to fetch|Unable to fetch|Could not resolve|Some index files failed", "download_failed", True),
        (r"dpkg returned an error code|error processing package", "package_failed", False),
    )

    async def look(self, package: str) -> PackageState:
        """See ``PackageManager``."""
        records = Records.of((await self.shell(f"package={shlex.quote(package)}{LOOK}")).text)
        rows = [row for row in records.all("installed") if len(row) > 2]
        # The second letter is the state: i installed, c only its configuration, others half-way (dpkg-query(1)).
        whole = next((row for row in rows if row[2][1:2] == "i"), None)
        half = any(row[2][1:2] not in "inc " or row[2][2:3] == "R" for row in rows)
        candidate = records.first("candidate")
        return PackageState(
            package=package,
            architecture=whole[1] if whole else None,
            installed=whole[0] if whole else None,
            candidate=None if candidate == "(none)" else candidate,
            available=known_versions([row[0] for row in records.all("available")]),
            held=bool(records.all("held")),
            unfinished=half,
            broken=half or bool(records.all("broken")),
            index_age=records.number("age"),
        )

    async def refresh(self, lock_timeout: int) -> None:
        """See ``PackageManager``."""
        done = await self.shell(REFRESH.format(timeout=lock_timeout))
        if done.exit_code:
            error = self.failure("fetch the package index", done.text)
            known = error.code in ("locked", "unauthenticated", "disk_full")
            raise error if known else ActionError("index_failed", error.message)

    async def simulate(self, wish: Wish) -> list[PackageChange]:
        """See ``PackageManager``."""
        done = await self.shell(f"apt-get -s {_options(wish)} install {_wanted(wish)} 2>&1")
        if done.exit_code:
            raise self.failure(f"plan {wish.package} {wish.version}", done.text)
        changes = [_change(found, wish) for line in done.text.splitlines() if (found := _PLANNED.match(line))]
        return list({change.package: change for change in changes}.values())

    async def compare(self, one: str, other: str) -> int:
        """See ``PackageManager``."""
        first, second = shlex.quote(one), shlex.quote(other)
        done = await self.shell(
            f"if dpkg --compare-versions {first} lt {second}; then echo -1; "
            f"elif dpkg --compare-versions {first} gt {second}; then echo 1; else echo 0; fi"
        )
        return int(done.text)

    def script(self, wish: Wish) -> str:
        """See ``PackageManager``."""
        return APPLY.format(
            conffiles=" ".join(_conffiles(wish)),
            package=shlex.quote(wish.package),
            options=_options(wish),
            wanted=_wanted(wish),
        )

    async def reboot_required(self) -> bool | None:
        """See ``PackageManager``."""
        return {"yes": True, "no": False}.get((await self.shell(REBOOT)).text.strip())

    def kept_configuration(self, log: str) -> list[str]:
        """See ``PackageManager``."""
        return list(dict.fromkeys(_KEPT.findall(log))) if "Keeping old config file" in log else []


def _conffiles(wish: Wish) -> list[str]:
    return ["--force-confnew"] if wish.replace_configuration else ["--force-confdef", "--force-confold"]


def _options(wish: Wish) -> str:
    options = ["-y", "-q", "-o", f"DPkg::Lock::Timeout={wish.lock_timeout}", "-o", "Dpkg::Use-Pty=0"]
    for option in _conffiles(wish):
        options += ["-o", f"Dpkg::Options::={option}"]
    if not wish.allow_removals:
        options.append("--no-remove")
    if wish.ignore_hold:
        options.append("--allow-change-held-packages")
    if wish.change == "downgrade":
        options.append("--allow-downgrades")
    return " ".join(options)


def _wanted(wish: Wish) -> str:
    return shlex.quote(f"{wish.package}={wish.version}")


def _change(found: re.Match[str], wish: Wish) -> PackageChange:
    verb, package, before, after = found.groups()
    if verb == "Remv":
        return PackageChange(package=package, change="remove", from_version=before)
    if package == wish.package.partition(":")[0]:
        return PackageChange(package=package, change=wish.change, from_version=before, to_version=after)
    change: Literal["upgrade", "install"] = "upgrade" if before else "install"
    return PackageChange(package=package, change=change, from_version=before, to_version=after)
