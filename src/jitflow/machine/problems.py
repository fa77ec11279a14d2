"""What can go wrong while a workflow runs; it becomes the message of a node in Error, never an exception of `decide`."""


class Problem(Exception):
    """A template, an argument or an expression that cannot be used. The message is Argo's."""


class Unresolved(Problem):
    """Something that is referred to is not there: found out before the node could begin."""


class Absent(Unresolved):
    """A reference to an output that is not there because its node did not run."""

    def __init__(self, tag: str, wanted: str = "") -> None:
        """Hold the tag's name; `wanted` names the input that was to have its value and nothing else."""
        self.tag = tag
        if wanted:
            what = "argument references an absent optional (skipped/omitted node output with no default)"
            super().__init__(f"{wanted}: {what}: {{{{{tag}}}}}")
        else:
            why = "absent optional: the node was skipped and the output has no default"
            super().__init__(f"failed to resolve {{{{{tag}}}}}: {why}")


class Unknown(Exception):
    """A value that only the future knows; raised while forecasting."""
