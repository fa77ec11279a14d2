import pytest
from cli_samples import NOW, node, view

from jitflow.cli.summary import Repository, failed_steps, summary_lines
from jitflow.cli.views import location, pod_name

pytestmark = pytest.mark.pure


def test_a_success_says_where_the_outputs_are() -> None:
    done = view(
        node("wf", "wf", "Succeeded", kind="DAG"),
        node(
            "wf-1", "wf.a", "Succeeded", above="wf",
            outputs={
                "parameters": [{"name": "n", "value": "42"}, {"name": "unset"}],
                "artifacts": [
                    {"name": "map", "plugin": {"name": "rclone", "key": "far:out/map.tif"}},
                    {"name": "main-logs", "s3": {"key": "wf/main.log"}},
                ],
                "exitCode": "0",
            },
        ),
        phase="Succeeded",
        outputs={"artifacts": [{"name": "all", "s3": {"endpoint": "s3.example.org", "bucket": "b", "key": "k.tgz"}}]},
    )  # fmt: skip
    assert summary_lines(done, now=NOW, log_tail=lambda _: []) == [
        "✔ wf Succeeded in 1m 5s (1 step)",
        "outputs",
        "  all → s3://b/k.tgz at s3.example.org",
        "  a: n = 42",
        "  a: map → far:out/map.tif",
    ]


def test_a_failure_shows_messages_and_the_last_log_lines() -> None:
    failed = view(
        node("wf", "wf", "Failed", kind="DAG"),
        node("wf-1", "wf.a", "Failed", above="wf", message="main: Error (exit code 3)"),
        phase="Failed",
        message="child 'wf-1' failed",
    )
    assert summary_lines(failed, now=NOW, log_tail=lambda found: [f"log of {found.id}"]) == [
        "✖ wf Failed in 1m 5s (1 step)",
        "  child 'wf-1' failed",
        "failed steps",
        "  ✖ a: main: Error (exit code 3)",
        "      | log of wf-1",
    ]


def test_of_a_retried_step_only_a_final_failure_counts_once() -> None:
    def attempts(phase: str) -> list[str]:
        found = view(
            node("wf-1", "wf.a", phase, kind="Retry"),
            node("wf-2", "wf.a(0)", "Failed"),
            node("wf-3", "wf.a(10)", "Failed" if phase == "Failed" else "Succeeded"),
            node("wf-4", "wf.a(9)", "Failed"),
        )
        return [item.name for item in failed_steps(found)]

    assert attempts("Failed") == ["wf.a(10)"]
    assert attempts("Succeeded") == []


def test_many_failures_and_outputs_are_counted() -> None:
    many = view(
        *(node(f"wf-{i}", f"wf.s{i}", "Failed", message="no") for i in range(12)),
        *(node(f"wf-{20 + i}", f"wf.t{i}", "Succeeded", outputs={"parameters": [{"name": "x", "value": i}]}) for i in range(45)),
        phase="Failed",
    )
    shown = summary_lines(many, now=NOW, log_tail=lambda _: [])
    assert "  … and 2 more: jitflow get wf" in shown
    assert shown[-1] == "  … and 5 more: jitflow get wf -o json"


def test_artifacts_in_the_default_repository_have_a_place_where_it_is_known() -> None:
    done = view(
        node("wf", "wf", "Succeeded", outputs={"artifacts": [{"name": "a", "s3": {"key": "wf/a.tgz"}}]}),
        phase="Succeeded",
    )
    shown = summary_lines(done, now=NOW, log_tail=lambda _: [], repository=Repository("artifacts:", "/home/a"))
    assert shown[-2:] == ["  wf: a → artifacts:wf/a.tgz", "  (artifacts: is the directory /home/a)"]


@pytest.mark.parametrize(
    ("artifact", "text"),
    [
        ({"s3": {"key": "wf/a.tgz"}}, "wf/a.tgz (default artifact repository)"),
        ({"gcs": {"bucket": "b", "key": "k"}}, "gs://b/k"),
        ({"azure": {"endpoint": "https://x/", "container": "c", "blob": "d/e"}}, "https://x/c/d/e"),
        ({"http": {"url": "https://example.org/f"}}, "https://example.org/f"),
        ({"raw": {"data": "x"}}, "in the manifest"),
        ({"name": "nowhere"}, ""),
    ],
)
def test_locations(artifact: dict[str, object], text: str) -> None:
    assert location(artifact) == text


def test_pod_names_are_argos() -> None:
    leaf = view(node("wf-123", "wf.a")).nodes["wf-123"]
    assert pod_name("wf", leaf) == "wf-work-123"
    assert pod_name("wf", view(node("wf", "wf")).nodes["wf"]) == "wf"
    assert len(pod_name("w" * 300, leaf)) <= 253
