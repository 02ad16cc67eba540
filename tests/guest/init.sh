#!/bin/busybox sh
# Process 1 of the guest: mounts the host's root below an overlay and switches to it.
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sysfs /sys; $B mount -t devtmpfs dev /dev
for m in $($B cat /m/order); do $B insmod /m/$m.ko || echo "insmod $m failed"; done
for w in $($B cat /proc/cmdline); do case $w in ig_*=*) eval "${w%%=*}='${w#*=}'";; esac; done
case $ig_engine in
  uml) $B mount -t hostfs -o / none /h;;
  *) $B mount -t virtiofs root /h;;
esac || exec $B poweroff -f
$B mount -t tmpfs -o mode=755 upper /ov; $B mkdir /ov/u /ov/w
$B mount -t overlay -o lowerdir=/h,upperdir=/ov/u,workdir=/ov/w root /new || exec $B poweroff -f
$B mount --move /dev /new/dev; $B mount --move /proc /new/proc; $B mount --move /sys /new/sys
N=/new
$B mount -t tmpfs -o mode=1777 tmp $N/tmp; $B mount -t tmpfs -o mode=755 run $N/run
$B mkdir -p $N/dev/shm $N/dev/pts $N/run/lock $N/run/in-guest $N/mnt/disk
$B mount -t tmpfs -o mode=1777 shm $N/dev/shm; $B mount -t devpts -o ptmxmode=666,mode=620 devpts $N/dev/pts
$B ln -sf /proc/self/fd $N/dev/fd; for i in 0:stdin 1:stdout 2:stderr; do $B ln -sf /proc/self/fd/${i%:*} $N/dev/${i#*:}; done
$B mount --bind /h$ig_ctl $N/run/in-guest
while read -r d; do $B mkdir -p "$N$d"; $B mount --bind "/h$d" "$N$d" || echo "no bind $d"; done < $N/run/in-guest/shares
$B mount -t cgroup2 cgroup2 $N/sys/fs/cgroup
for c in $($B cat $N/sys/fs/cgroup/cgroup.controllers); do echo +$c > $N/sys/fs/cgroup/cgroup.subtree_control; done
$B mount -t ext4 $N/dev/$ig_disk $N/mnt/disk || echo "no disk"
$B ip link set lo up; $B hostname guest
exec $B switch_root $N /bin/bash /run/in-guest/main
