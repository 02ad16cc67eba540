"""cgroup v2: `hierarchy` (where jobs' cgroups go), `job_cgroup` (one job's), a module a controller.

The kernel's own account is Documentation/admin-guide/cgroup-v2.rst; "the kernel's page" means that.
"""
