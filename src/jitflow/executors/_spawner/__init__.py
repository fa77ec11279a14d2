"""The spawner and the parents of pods.

Standard library only: this folder runs by itself, as `python -I -S -X utf8 .../_spawner FD`, in a process that knows
nothing of jitflow. The modules are imported before the first fork and none is imported later, because a pod's parent
lives in the pod's root, where Python's library may not be seen.
"""
