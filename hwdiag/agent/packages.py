"""The packages of this interpreter that have native code. Standard library only."""

import importlib.machinery
import os
import platform
import re
import sys

from .channel import one_line
from .cpu_features import cpu_features, cpu_name
from .operations import OPERATIONS


def list_packages(channel):
    """Tell what this interpreter is, what its CPU can do, and which packages it has."""
    channel.tell(
        "environment",
        python=platform.python_version(),
        prefix=sys.prefix,
        machine=platform.machine(),
        features=cpu_features(),
        cpu=cpu_name(),
        packages=native_packages(),
        operations={name: module for name, (module, _) in OPERATIONS.items()},
    )


def native_packages():
    """Return the installed distributions whose RECORD has shared objects, or that an operation is known for, and their
    imports.

    The latter may keep their native code in another distribution, as polars does.
    """
    from importlib import metadata

    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    found, seen, operated = {}, set(), {module for module, _ in OPERATIONS.values()}
    for distribution in metadata.distributions():
        try:
            name, files = distribution.metadata["Name"], [str(f) for f in distribution.files or ()]
            shared = [f for f in files if re.search(r"\.so(\.[\d.]+)?$", f)]
            if not name or name in seen:  # the first on the path is the one that is imported
                continue
            seen.add(name)
            imports = import_names(name, files, suffixes)
            if not shared and not operated.intersection(imports):
                continue
            root = str(distribution.locate_file(""))
            found[name] = {
                "name": name,
                "version": str(distribution.version),
                "imports": imports,
                "extensions": extension_names(shared, suffixes),
                "shared_objects": [os.path.join(root, f) for f in shared],
                "built_for": torch_version(distribution.requires or ()),
            }
        except Exception as error:  # a broken installation is one package's, not the list's
            sys.stderr.write("%s\n" % one_line(error))
    return sorted(found.values(), key=lambda package: package["name"].lower())


def torch_version(requirements):
    """Return the one version of torch that a distribution was built for, as its requirements pin it; None without a
    pin."""
    for line in requirements:
        match = re.match(r"torch\s*\(?\s*==\s*([\w.+!]+)\s*\)?\s*(;|$)", line)
        if match and "extra" not in line:
            return match.group(1)
    return None


def import_names(distribution, files, suffixes):
    """Return the top-level modules and packages, the one named like the distribution first; private ones for want of
    others."""
    names = []
    for path in files:
        top, _, rest = path.partition("/")
        if rest in ("__init__.py",) or (rest and rest.startswith("__init__") and rest.endswith(suffixes)):
            names.append(top)
        elif not rest and top.endswith(suffixes):
            names.append(top.partition(".")[0])
    if not names:  # a namespace package, such as google/: its importable parts
        names = [os.path.dirname(p).replace("/", ".") for p in files if os.path.basename(p) == "__init__.py"]
        names = sorted(set(names), key=lambda n: (n.count("."), n))[:1]
    names = [n for n in dict.fromkeys(names) if all(part.isidentifier() for part in n.split("."))]
    public = [n for n in names if not n.startswith("_")] or names
    return sorted(public, key=lambda n: n.lower() != re.sub(r"[-.]+", "_", distribution).lower())


VARIANT = re.compile(r"(^|[_\d])(avx|sse|fma|bmi|neon|sve|amx|x86_64_v)\w*$", re.IGNORECASE)


def extension_names(shared, suffixes):
    """Return the dotted names of extension modules, without those that lie in tests.

    Variants for one instruction set are the package's to choose among: loaded by name, ``metrics_cpp_avx2`` of
    RapidFuzz dies on a CPU where RapidFuzz itself runs.
    """
    names = []
    for path in shared:
        suffix = next((s for s in suffixes if path.endswith(s)), None)
        if suffix is None or os.path.basename(path).startswith("lib"):
            continue
        name = path[: -len(suffix)].replace("/", ".")
        parts = name.split(".")
        if all(p.isidentifier() for p in parts) and not any("test" in p or VARIANT.search(p) for p in parts):
            names.append(name[: -len(".__init__")] if parts[-1] == "__init__" else name)
    return names


VERBS = {"list": list_packages}
