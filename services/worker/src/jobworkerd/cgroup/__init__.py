"""cgroup v2: `hierarchy` (the cgroups of the server and the jobs), `job_cgroup` (one job's), and one module
per controller.

The kernel's own account is Documentation/admin-guide/cgroup-v2.rst; "the kernel's page" means that.
"""
