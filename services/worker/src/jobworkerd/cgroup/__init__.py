"""cgroup v2: `hierarchy` (the cgroups of the server and of all jobs), `job_cgroup` (the cgroup of one job),
one module per controller and `limits`, the table of all limits.

"The kernel's page" is Documentation/admin-guide/cgroup-v2.rst.
"""
