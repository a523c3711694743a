"""perf/stage/ — what the measuring scripts of this folder share, one noun a file:

    machine    processors, processes and their time, as /proc tells it
    servers    who takes part: commands, configurations, ports
    load       perf-load, started and listened to; calls into the kernel, counted from outside
    counts     sites that have a count, before it is measured how they are read
    measures   how one figure is taken
    profile    where a server's CPU time goes: samples, and whose work each is
    rows       what is measured: the table of rows
    report     medians, ratios, tables, pictures; from what a run has kept
"""
