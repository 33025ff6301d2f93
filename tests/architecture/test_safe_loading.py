"""Nothing that is read can run code or leave its folder: the calls that would let it are not in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for package in ("orchestrator", "trainables") for path in (ROOT / package).rglob("*.py"))

MODULES = {
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "pickle",
    "shelve",
    "xml",
    "xmlrpc",
    "zipimport",
    "telnetlib",
}
"""Of the standard library and others, those that run or expand what they read."""
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp", "mktemp", "torch.load",
    "torch.hub.load", "read_pickle", "unpack_archive", "full_load", "unsafe_load", "full_load_all",
    "unsafe_load_all", "Unpickler", "register_repo",
}  # fmt: skip
SAFE = re.compile(r"(, |Loader=|yaml\.|')C?(_Loader|_Safe|SafeLoader)'?\)+$")
"""How a call ends that gives YAML's safe loader, or one that is made of it."""
ALLOWED = {("orchestrator/launch/losses.py", "import pickle")}
"""Tune tells by a pickle alone with which error a trial ended; one is read that this user has written."""


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> str:
    """The source of an argument; empty where it is not given."""
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), "")


def faults(source: str) -> Iterator[str]:
    """What each unsafe statement is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            names += (
                [f"{node.module}.{each.name}" for each in node.names] if isinstance(node, ast.ImportFrom) else []
            )
            parts = {part for name in names for part in name.split(".")}
            yield from (f"import {name}" for name in sorted(parts & MODULES))
        elif isinstance(node, ast.Call):
            yield from fault_of(node)


def fault_of(call: ast.Call) -> Iterator[str]:
    name = dotted(call.func) or (call.func.attr if isinstance(call.func, ast.Attribute) else "")
    last = name.rpartition(".")[2]
    wrong = {
        "shell": keyword(call, "shell") not in ("", "False"),
        "allow_pickle": keyword(call, "allow_pickle") not in ("", "False"),
        "verify": keyword(call, "verify") == "False",
        "trust_remote_code": keyword(call, "trust_remote_code") not in ("", "False"),
        "np.load": name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != "False",
        "yaml.load": name in ("yaml.load", "yaml.load_all") and not SAFE.search(ast.unparse(call)),
        "from_pretrained": last == "from_pretrained" and keyword(call, "trust_remote_code") != "False",
        "weights": last == "from_pretrained" and "Model" in name and keyword(call, "use_safetensors") != "True",
        "extractall": last in ("extractall", "extract") and keyword(call, "filter") != "'data'",
        "tarfile.open": name == "tarfile.open" and keyword(call, "mode") not in ("'r:'", "'w'"),
        "h5py.File": last == "File"
        and name.startswith("h5py")
        and [ast.unparse(a) for a in call.args[1:]] != ["'r'"],
        "av.open": name == "av.open" and "'w'" not in ast.unparse(call) and "whitelist" not in ast.unparse(call),
        "Image.open": name == "Image.open" and not keyword(call, "formats"),
    }
    yield from (what for what, is_wrong in wrong.items() if is_wrong)
    if name in CALLS or last in {each for each in CALLS if "." not in each} - {"compile", "eval"}:
        yield name


def test_both_packages_are_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == {"orchestrator", "trainables"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unsafe_is_called(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = {(name, fault) for fault in faults(path.read_text(encoding="utf-8"))}
    assert found - ALLOWED == set()


def test_what_is_allowed_is_there() -> None:
    for name, fault in ALLOWED:
        assert fault in list(faults((ROOT / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import xml.etree.ElementTree as tree",
        "from ray import cloudpickle",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.FullLoader)",
        "yaml.load(text, Loader=yaml.UnsafeLoader)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load_all(text, yaml.UnsafeLoader)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "AutoModel.from_pretrained(name, use_safetensors=True)",
        "AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
        "tarfile.open(path).extractall(folder)",
        "tarfile.open(path, mode='r:')[0].extractall(folder, filter='fully_trusted')",
        "zipfile.ZipFile(path).extractall(folder)",
        "shutil.unpack_archive(path)",
        "h5py.File(path, 'a')",
        "av.open(path)",
        "Image.open(path)",
        "requests.get(url, verify=False)",
    ],
)
def test_each_unsafe_line_is_seen(line: str) -> None:
    assert list(faults(line))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "re.compile(text)",
        "np.load(path, mmap_mode='r', allow_pickle=False)",
        "yaml.load(text, _Loader)",
        "yaml.safe_load(text)",
        "yaml.load(text, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))",
        "AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)",
        "archive.extractall(folder, filter='data')",
        "subprocess.run(words, check=True)",
    ],
)
def test_safe_lines_pass(line: str) -> None:
    assert list(faults(line)) == []
