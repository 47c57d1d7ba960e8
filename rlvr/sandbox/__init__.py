"""A private world for every program of a model's: `client.Sandbox` runs it, `jail` says how well this machine can isolate.

What a world has: no network (loopback too), an empty environment, a read-only view of the system, one writable directory
of bounded size that is gone afterwards, process numbers of its own, no privileges, and limits of time, memory, output, files
and processes. What it cannot see: other worlds, the judge, the truth, /proc, the packages beside the interpreter.

What is *not* covered. A defect of the kernel that an ordinary process can use: namespaces and a filter of system calls make
the kernel's surface smaller, they do not replace it. Side channels: worlds share processors and caches with everything else
on the machine. Denial of service below the limits: a machine with few cores is slow while many programs use all that they may.

For programs of people who are out to attack you (several tenants, a public service), put a stronger wall underneath: run
`rlvr worker` in a gVisor container (`docker run --runtime=runsc ...`; `rlvr worker --check` says whether
it offers what is needed) or in a Firecracker or Kata microVM, one for each tenant, with `verify=redis` between them and the
training. The truth is sent to the worker, so a worker serves one tenant.

With Landlock instead of namespaces processes are counted only by looking, signals reach other processes of the user on
kernels before 6.12, and the size of the directory is bounded by file, not in all. A machine that has no namespaces should be
a worker for nothing but this, under a user of its own.
"""
