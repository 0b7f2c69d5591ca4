# The guest's way from its read-only root to the first process of Python. Version 2 of control groups alone, in one place, as systemd has it.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
busybox ip link set lo up
modprobe virtio_net
busybox ip link set eth0 mtu 1400 up
busybox ip address add 10.0.2.15/24 dev eth0
busybox ip route add default via 10.0.2.2
mkdir /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
for each in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $each; done
# As where systemd-resolved runs: only the host itself reaches its resolver.
echo nameserver 127.0.0.1 > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf
# Nothing is written to the data disk of the kernel's own accord: what is on it after a power cut is what somebody has synced.
mount -t ext4 -o commit=86400 /dev/vdc /var/lib
echo 0 > /proc/sys/vm/dirty_writeback_centisecs
exec python3 /mnt/guest/first.py
