"""A private world for every program of a model's: `client.Sandbox` runs it, `jail` says how well this machine can isolate.

What a world has: no network (loopback too), an empty environment, a read-only view of the system, one writable directory of
bounded size that is gone afterwards, process numbers of its own, no privileges, and limits of time, memory, output, files and
processes. What it cannot see: other worlds, the judge, the truth, /proc, the packages installed beside the interpreter.

What is *not* covered. A defect of the kernel that an ordinary process can use: namespaces and a filter of system calls make the
kernel's surface smaller, they do not replace it. Side channels: worlds share processors and caches with everything else on the
machine. Denial of service below the limits: a machine with few cores is slow while many programs use all that they may. Programs
share one kernel user with each other (one world a fork server at a time) but not with anything that matters.

For programs of people who are out to attack you (several tenants, a public service), put a stronger wall underneath: run
`python -m rlvr.worker` in a gVisor container (`docker run --runtime=runsc ...`; it offers the namespaces that are needed) or in a
Firecracker or Kata microVM, one for each tenant, with `verify=redis` between them and the training; the truth is sent to the
worker, so one worker serves one tenant. With Landlock instead of namespaces (`landlock`) processes of one user can be counted
only by looking, /proc of others is fenced off but not absent, and the size of the directory is bounded by file, not in all.
"""
