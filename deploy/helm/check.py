"""Lint the chart, render it with few and with all of its values, and hold what comes out against Kubernetes' schemas.

Run by `deploy/check`, which brings Helm (helm-python-sdk) and the schemas (kubernetes-validate).
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import helm_python as helm  # pyright: ignore[reportMissingImports]

CHART = Path(__file__).parent / "jitflow"
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example.org/jitflow", "digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "registry"}],
        "state": {"urlSecret": {"name": "database"}},
        "secretKey": {"existingSecret": "key"},
        "secretEnvironment": ["far-stores"],
        "environment": {"JITFLOW_LOG_LEVEL": "debug"},
        "persistence": {"storageClass": "fast"},
        "names": ["flows.example.org"],
        "ingress": {"enabled": True, "className": "nginx", "host": "jitflow.example.org", "tlsSecret": "tls"},
        "sandbox": {"enabled": True},
        "networkPolicy": {"enabled": True},
        "nodeSelector": {"disk": "nvme"},
        "tolerations": [{"key": "data", "operator": "Exists"}],
        "podAnnotations": {"team": "science"},
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "a value that is not there": {"replicas": 3},
    "a digest that is none": {"image": {"digest": "latest"}},
    "an ingress without a name": {"ingress": {"enabled": True}},
}


def main() -> int:
    """Return 0 if all is well."""
    wrong = helm.lint(CHART, strict=True)["errors"]
    chart = helm.Chart.load(CHART)
    for name, values in CASES.items():
        files = chart.render(values, name="lab", namespace="science")
        text = "\n---\n".join(body for path, body in files.items() if path.endswith(".yaml") and body.strip())
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            program = Path(sys.executable).with_name("kubernetes-validate")
            found = subprocess.run([program, "--strict", file.name], capture_output=True, text=True, check=False)
        kinds = sum(path.endswith(".yaml") and bool(body.strip()) for path, body in files.items())
        print(f"{name}: {kinds} objects")
        if found.returncode:
            wrong.append(f"{name}: {found.stdout}{found.stderr}")
    for name, values in REFUSED.items():
        try:
            chart.render(values, name="lab", namespace="science")
        except helm.HelmError as error:
            print(f"refused: {name}: {str(error).splitlines()[0][:100]}")
        else:
            wrong.append(f"{name} should be refused")
    print("\n".join(map(str, wrong)), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
