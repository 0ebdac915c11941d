"""Projects of npm, pnpm, Yarn and Bun, by package.json and lock file."""

from __future__ import annotations

from runner.discovery.files import Files, Found, Toolchain, read_json, table

# lock file → (package manager, the command that installs exactly what is locked)
_LOCK_FILES = {
    "package-lock.json": ("npm", "npm ci"),
    "npm-shrinkwrap.json": ("npm", "npm ci"),
    "pnpm-lock.yaml": ("pnpm", "pnpm install --frozen-lockfile"),
    "yarn.lock": ("yarn", "yarn install --frozen-lockfile"),
    "bun.lock": ("bun", "bun install --frozen-lockfile"),
    "bun.lockb": ("bun", "bun install --frozen-lockfile"),
}
# `npm init` writes this text into scripts.test.
_NO_TEST = "no test specified"
_PACKAGE = "package.json"


def node_toolchain(files: Files) -> Toolchain | None:
    """How the package at the root is set up and tested; None if there is none."""
    if _PACKAGE not in files:
        return None
    package = read_json(files, _PACKAGE)
    manager, setup = _setup(files, package)
    return Toolchain(manager, setup, _test(package, manager))


def _setup(files: Files, package: dict[str, object]) -> tuple[str, Found | None]:
    for path, (manager, command) in _LOCK_FILES.items():
        if path not in files:
            continue
        if manager == "yarn" and ".yarnrc.yml" in files:
            command = "yarn install --immutable"
        return manager, Found(command, path)
    named = str(package.get("packageManager", "")).partition("@")[0]
    manager = named if named in {"npm", "pnpm", "yarn", "bun"} else "npm"
    if not table(package, "dependencies") and not table(package, "devDependencies"):
        return manager, None
    command = f"{manager} install"
    if manager == "npm":
        # A new lock file is nobody's change.
        command = "npm install --no-package-lock"
    return manager, Found(command, _PACKAGE, "its dependencies")


def _test(package: dict[str, object], manager: str) -> Found | None:
    script = table(package, "scripts").get("test")
    if not isinstance(script, str) or _NO_TEST in script or not script.strip():
        return None
    command = "bun run test" if manager == "bun" else f"{manager} test"
    return Found(command, _PACKAGE, f"scripts.test is {script}")
