"""The system calls that jobs can use, by name, for all machines.

A job can use what the default profile of Docker allows to a container without capabilities. The reference is
`seccomp/default.json` of github.com/moby/profiles at commit 02e898b137ae (later than version 0.3.0). The
names are those of libseccomp. A name that the machine lacks is ignored.

Differences from that profile:

- A system call that is in no list fails with ENOSYS instead of EPERM. Programs then use an older system call.
- x32 programs cannot run, because the profile's mapping would double the length of the filter.
- socketcall(2) cannot create sockets, because its arguments cannot be checked.
- ioctl(2) cannot change the flags and the project of a file. A job could leave the quota of its scratch.
- ioctl(2) cannot encrypt a directory. Without the key, the server could not remove the scratch of the job.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

_FILES = """
access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32
fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64
fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lchown lchown32 lgetxattr link linkat
listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat
mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64
pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2
rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statmount statx symlink
symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
utimensat_time64 utimes vmsplice write writev
"""

_WAITING = """
_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup
io_submit poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 timerfd_create
timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
"""

_MEMORY = """
brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
"""

_PROCESSES = """
arch_prctl capget capset execve execveat exit exit_group fork getcpu getpgid getpgrp getpid getppid
getpriority getrlimit getrusage getsid gettid get_robust_list get_thread_area ioprio_get ioprio_set kill
modify_ldt pause pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease process_vm_readv
process_vm_writev ptrace restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield setpgid setpriority setrlimit setsid set_robust_list set_thread_area
set_tid_address sigaltstack sigprocmask sigreturn tgkill times tkill ugetrlimit uretprobe vfork wait4 waitid
waitpid
"""

_USERS = """
getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
"""

_COMMUNICATION = """
accept accept4 bind connect futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake getpeername
getsockname getsockopt ipc listen mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd recv recvfrom recvmmsg
recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto
setsockopt shmat shmctl shmdt shmget shutdown socketpair
"""

_TIME = """
adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create
timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
"""

_SYSTEM = """
getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp sysinfo
uname
"""

_ARM = "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls"

ALLOWED = (
    *_FILES.split(),
    *_WAITING.split(),
    *_MEMORY.split(),
    *_PROCESSES.split(),
    *_USERS.split(),
    *_COMMUNICATION.split(),
    *_TIME.split(),
    *_SYSTEM.split(),
    *_ARM.split(),
)
"""The system calls that jobs can use with any arguments."""

_FOR_ADMINISTRATORS = """
acct add_key bpf chroot clock_settime clock_settime64 delete_module fanotify_init finit_module fsconfig
fsmount fsopen fspick get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl
kcmp kexec_file_load kexec_load keyctl lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr
mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree
open_tree_attr perf_event_open pidfd_getfd pivot_root process_madvise quotactl quotactl_fd reboot request_key
set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday stime swapoff swapon
syslog umount umount2 unshare userfaultfd uselib vhangup vm86 vm86old
"""

REFUSED = tuple(_FOR_ADMINISTRATORS.split())
"""The system calls that fail with EPERM. All further ones fail with ENOSYS."""

REFUSED_CLONE_FLAGS = 0x7E020000
"""clone(2) is allowed without these flags, CLONE_NEW… of include/uapi/linux/sched.h.

clone3(2) is in no list, because its flags cannot be checked.
"""

_SOCKET_FAMILIES = (*range(12), *range(13, 19), 21, 22, 24, *range(26, 34), 35, 36, 39, *range(41, 46))
"""AF_… of include/linux/socket.h, without ALG, VSOCK and those that Linux has removed."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux and Linux32, each also with the version 2.6, and the value that only returns the current one."""

_SOCKET_OPERATIONS = range(2, 21)
"""The operations of socketcall(2) on existing sockets, and socketpair (include/uapi/linux/net.h)."""

ALLOWED_ARGUMENTS: Mapping[str, Sequence[int]] = MappingProxyType(
    {"socket": _SOCKET_FAMILIES, "personality": _PERSONALITIES, "socketcall": _SOCKET_OPERATIONS}
)
"""System calls that jobs can use with these values of the first argument. Others fail with EPERM."""

REFUSED_IOCTLS = (0x40086602, 0x40046602, 0x401C5820, 0x800C6613)
"""FS_IOC_SETFLAGS, its variant for 32 bits, FS_IOC_FSSETXATTR and FS_IOC_SET_ENCRYPTION_POLICY.

The second argument of ioctl(2), of include/uapi/linux/fs.h and fscrypt.h. They fail with EPERM, as
file_setattr(2) fails with ENOSYS.
"""
