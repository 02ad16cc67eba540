# Second stage of the guest: runs the command and passes its output and exit code to the host.
cd /run/in-guest
[ -e started ] && exec busybox poweroff -f  # after a reboot: never run the command twice
: >started
mkfifo /run/.out /run/.err
cat </run/.out >>out & o=$!
cat </run/.err >>err & e=$!
ulimit -n 65536
( . ./env; cd -- "$PWD" && exec setsid "${IN_GUEST_ARGV[@]}" ) </dev/null >/run/.out 2>/run/.err &
wait $!; rc=$?
# Leftover processes of the command may hold the pipes: drain them for two seconds.
( sleep 2; kill $o $e ) 2>/dev/null &
wait $o $e 2>/dev/null
sync
echo $rc >rc.tmp; mv rc.tmp rc
exec busybox poweroff -f
