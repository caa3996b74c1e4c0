"""dnf and rpm on a host."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from typing import Literal

from activities.errors import ActionError
from activities.hosts.packages import (
    VERSION,
    PackageChange,
    PackageManager,
    PackageState,
    Records,
    Wish,
    known_versions,
    without_epoch,
)

# -C: from what the host has fetched, and nothing else.  An epoch of 0 is left out, as people do.
LOOK = r"""
evr='%{epoch}:%{version}-%{release}'
rpm -q --qf 'installed\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n' -- "$package" 2>/dev/null
all=$(dnf -q -C repoquery --showduplicates --disableexcludes=all --disableplugin=versionlock \
    --qf "available\t%{epoch}:%{version}-%{release}\n" -- "$package" 2>&1) || printf 'nothing\t1\n'
printf '%b\n' "$all"
cat /etc/dnf/plugins/versionlock.list 2>/dev/null | sed -n 's/^[^#[:space:]].*/lock\t&/p'
sed -n 's/^ *name *= *"\(.*\)"/lock\t\1/p' /etc/dnf/versionlock.toml 2>/dev/null
sed -n 's/^ *\(exclude\|excludepkgs\) *= *\(.*\)/excluded\t\2/p' /etc/dnf/dnf.conf /etc/yum.repos.d/*.repo 2>/dev/null
updated=$(find /var/cache/dnf /var/cache/libdnf5 -name repomd.xml -exec stat -c %Z {} + 2>/dev/null |
    sort -n | tail -n 1)
[ -z "$updated" ] || printf 'age\t%s\n' $(($(date +%s) - updated))
"""

REFRESH = r"""
end=$(($(date +%s) + {timeout}))
while :; do
    said=$(dnf -q --setopt=exit_on_lock=1 makecache --refresh 2>&1) && exit 0
    [ $? = 200 ] && [ "$(date +%s)" -lt "$end" ] || break
    sleep 1
done
printf '%s\n' "$said"; exit 1
"""

# dnf says 200 when somebody else holds its lock; until then nothing was changed, and a cancel may stop it again.
APPLY = r"""
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
end=$(($(date +%s) + {timeout}))
attempt() {{
    while :; do
        [ "$1" = download ] || decide || return 130
        dnf -y {options} $2 {verb} {wanted}
        code=$?
        [ "$code" = 200 ] && [ "$(date +%s)" -lt "$end" ] || return $code
        undecide
        [ ! -e "$dir/result" ] || return 130
        sleep 1
    done
}}
attempt download --downloadonly && attempt transaction ""
"""

REBOOT = """
said=$(dnf -q needs-restarting -r 2>&1); code=$?
case $said in *"No such command"*) ;; *) case $code in 0) echo no ;; 1) echo yes ;; esac ;; esac
"""

_SECTIONS = {
    "Installing": "install",
    "Upgrading": "upgrade",
    "Downgrading": "downgrade",
    "Removing": "remove",
}
_ROW = re.compile(r"\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+[\d.]+(?: [kMG])?\s*$")
_KEPT = re.compile(r"warning: (\S+) created as \S+\.rpmnew")


class Dnf(PackageManager):
    """dnf, non-interactive."""

    name: Literal["apt", "dnf"] = "dnf"
    failures = (
        (
            r"exit_on_lock|Failed to obtain the transaction lock|can't create transaction lock|process with pid",
            "locked",
            True,
        ),
        (r"GPG check FAILED|is not signed|public key is not installed|signature .*BAD", "unauthenticated", False),
        (r"Cache-only enabled but no cache|no cache for", "index_failed", False),
        (r"No space left on device|needs .* more space|Disk Requirements", "disk_full", True),
        (r"nothing provides|conflicting requests|Problem(?: \d+)?:", "dependencies_unmet", False),
        (r"Failed to download|Cannot download|Curl error|Error downloading", "download_failed", True),
        (r"scriptlet failed|Error unpacking rpm|Transaction test error", "package_failed", False),
    )

    async def look(self, package: str) -> PackageState:
        """See ``PackageManager``."""
        records = Records.of((await self.shell(f"package={shlex.quote(package)}{LOOK}")).text)
        installed = records.all("installed")
        available = known_versions([_short(row[0]) for row in records.all("available")])
        ordered = await self._newest_first(available)
        plain = package.rpartition(".")[0] or package
        held = any(_locks(row[0], plain) for row in records.all("lock")) or any(
            fnmatch(plain, pattern) for row in records.all("excluded") for pattern in re.split(r"[\s,]+", row[0])
        )
        return PackageState(
            package=package,
            # Several of one name are installed side by side, as kernels are: the last is the newest.
            installed=_short(installed[-1][0]) if installed else None,
            architecture=installed[-1][1] if installed else None,
            candidate=ordered[0] if ordered else None,
            available=ordered,
            held=held,
            index_age=records.number("age"),
        )

    async def refresh(self, lock_timeout: int) -> None:
        """See ``PackageManager``."""
        done = await self.shell(REFRESH.format(timeout=lock_timeout))
        if done.exit_code:
            error = self.failure("fetch the package index", done.text)
            raise error if error.code in ("locked", "disk_full") else ActionError("index_failed", error.message)

    async def simulate(self, wish: Wish) -> list[PackageChange]:
        """See ``PackageManager``."""
        done = await self.shell(f"dnf -C --assumeno {_options(wish)} {wish.change} {_wanted(wish)} 2>&1")
        if "Operation aborted" not in done.text and "Nothing to do" not in done.text:
            raise self.failure(f"plan {wish.package} {wish.version}", done.text)
        return changes_of(done.text)

    async def compare(self, one: str, other: str) -> int:
        """See ``PackageManager``."""
        if not (VERSION.fullmatch(one) and VERSION.fullmatch(other)):
            raise ActionError("invalid_version", f"{self.host.place} names a version that is none.", retryable=False)
        # As a release, a version without one is compared by its parts too: both sides have the same form.
        done = await self.shell(f'rpm --eval \'%{{lua:print(rpm.vercmp("{one}", "{other}"))}}\'')
        return int(done.text)

    def script(self, wish: Wish) -> str:
        """See ``PackageManager``."""
        return APPLY.format(timeout=wish.lock_timeout, options=_options(wish), verb=wish.change, wanted=_wanted(wish))

    async def reboot_required(self) -> bool | None:
        """See ``PackageManager``."""
        return {"yes": True, "no": False}.get((await self.shell(REBOOT)).text.strip())

    def kept_configuration(self, log: str) -> list[str]:
        """See ``PackageManager``."""
        return list(dict.fromkeys(_KEPT.findall(log)))

    async def _newest_first(self, versions: tuple[str, ...]) -> tuple[str, ...]:
        """``versions`` in the order of rpm, which asks the host once."""
        if len(versions) < 2:
            return versions
        table = ", ".join(f'"{version}"' for version in versions)
        sort = (
            f"local t = {{{table}}}; table.sort(t, function(a, b) return rpm.vercmp(a, b) > 0 end); "
            'print(table.concat(t, " "))'
        )
        done = await self.shell(f"rpm --eval {shlex.quote(f'%{{lua:{sort}}}')}")
        return known_versions(done.text.split())


def changes_of(text: str) -> list[PackageChange]:
    """The table of a transaction, as dnf prints it for people; a long name is on a line of its own."""
    changes: list[PackageChange] = []
    section = ""
    pending = ""
    for line in text.splitlines():
        if line[:1].strip():
            section = next((kind for word, kind in _SECTIONS.items() if line.startswith(word)), "")
            pending = ""
            continue
        pending = f"{pending} {line}" if section else ""
        row = _ROW.match(pending)
        if section and row:
            changes.append(_planned(section, row))
            pending = ""
    return changes


def _planned(section: str, row: re.Match[str]) -> PackageChange:
    package, _, version, _ = row.groups()
    before = {"from_version": version} if section == "remove" else {"to_version": version}
    return PackageChange.model_validate({"package": package, "change": section, **before})


def _short(version: str) -> str:
    return without_epoch(version) if version.startswith("0:") else version


def _locks(entry: str, package: str) -> bool:
    """True when a line of the plug-in versionlock is of ``package``: ``name-epoch:version-release.*``."""
    entry = entry.strip().lstrip("!")
    name = re.sub(r"-(\d+:)?[^-:]+-[^-]+$", "", entry)
    return package in (entry, name)


def _options(wish: Wish) -> str:
    options = ["--setopt=exit_on_lock=1", "--best"]
    if wish.allow_removals:
        options.append("--allowerasing")
    if wish.ignore_hold:
        options += ["--disableexcludes=all", "--disableplugin=versionlock"]
    return " ".join(options)


def _wanted(wish: Wish) -> str:
    name, dot, architecture = wish.package.rpartition(".")
    if dot and architecture in ("noarch", "x86_64", "aarch64", "i686", "ppc64le", "s390x", "armv7hl", "riscv64"):
        return shlex.quote(f"{name}-{wish.version}.{architecture}")
    return shlex.quote(f"{wish.package}-{wish.version}")
