"""Makes a PyTorch for NVIDIA's GPUs usable on the CPU without NVIDIA's libraries.

    python cpu_torch.py

For Linux on x86-64 the package index has PyTorch for NVIDIA's GPUs only. Its libraries name gigabytes of NVIDIA's libraries that the
loader must find, even if nothing is computed on a GPU. After `pip install --no-deps torch`, this program writes, for each of these
libraries that is missing, a stub with its name into PyTorch's folder: every function that PyTorch takes from it is there and returns
the error code 100, "no device". `torch.cuda.is_available()` is then false. It needs `cc` and `readelf`, and does nothing where PyTorch
can be imported as it is.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

NVIDIA = r"lib(?:cu|nccl|nvrtc|nvshmem)[\w-]*\.so[.\d]*"
#: Functions of libraries whose symbols have no version. Nothing says which library has which, so each of these stubs has all of them.
UNVERSIONED = re.compile(r"cu[A-Z]|cusparseLt|nccl|nvshmem|nvrtc")
IMPORTS = [sys.executable, "-c", "import torch"]


def readelf(*arguments: str) -> str:
    return subprocess.run(["readelf", "--wide", *arguments], capture_output=True, text=True, check=True).stdout


def missing_functions(folder: Path) -> dict[str, dict[str, set[str]]]:
    """For each library that is missing: the functions that PyTorch's libraries take from it, by the version of their symbols."""
    missing: dict[str, dict[str, set[str]]] = {}
    versions: dict[str, str] = {}
    functions: defaultdict[str, set[str]] = defaultdict(set)
    for library in map(str, sorted(folder.glob("lib*.so"))):
        for name in re.findall(rf"\(NEEDED\).*\[({NVIDIA})\]", readelf("--dynamic", library)):
            if not (folder / name).exists():
                missing[name] = {}
        for file, needs in re.findall(r"File: (\S+) .*\n((?:.*Name: .*\n)+)", readelf("--version-info", library)):
            versions.update(dict.fromkeys(re.findall(r"Name: (\S+)", needs), file))
        for name, version in re.findall(r" UND (\w+)(?:@(\S+))?", readelf("--dyn-syms", library)):
            functions[version].add(name)
    for version, file in versions.items():
        if file in missing:
            missing[file][version] = functions[version]
    unversioned = {name for name in functions[""] if UNVERSIONED.match(name)}
    return {name: stubs or {"": unversioned} for name, stubs in missing.items()}


def write_stub(path: Path, functions: dict[str, set[str]]) -> None:
    """Compiles a library at `path` with these functions, by the versions of their symbols."""
    names = sorted(name for group in functions.values() for name in group)
    source = ".text\n" + "".join(f".globl {name}\n.type {name}, @function\n{name}:\nmov $100, %eax\nret\n" for name in names)
    versions = "".join(f"{v} {{ global: {' '.join(f'{n};' for n in sorted(group))} }};\n" for v, group in functions.items() if v)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stub.s").write_text(source)
        (Path(folder) / "stub.map").write_text(versions)
        script = [f"-Wl,--version-script={folder}/stub.map"] if versions else []
        command = ["cc", "-shared", "-nostdlib", f"-Wl,-soname,{path.name}", *script, "-o", str(path), f"{folder}/stub.s"]
        subprocess.run(command, check=True)


def main() -> None:
    if subprocess.run(IMPORTS, capture_output=True, check=False).returncode == 0:
        return
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("cpu_torch.py: torch is not installed")
    folder = Path(spec.origin).parent / "lib"
    missing = missing_functions(folder)
    for name, functions in missing.items():
        write_stub(folder / name, functions)
    print(f"cpu_torch.py: {len(missing)} stubs of NVIDIA's libraries in {folder}")
    subprocess.run(IMPORTS, check=True)


if __name__ == "__main__":
    main()
