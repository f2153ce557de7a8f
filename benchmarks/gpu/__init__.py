"""``make gpu-check``: everything that needs a GPU, in two parts of 240 s, with what is installed there.

Each stage runs in a process of its own and has a deadline. What it finds is a line of ``gpu-check.jsonl``,
which is on the disk the moment it is known. ``stages.py`` lists the stages, ``schedule.py`` runs them, and
``record.py`` keeps their rows. This is how the time should be spent on 16 cores and one H100, in seconds. It
is an estimate: no GPU has measured it yet.

    part 1                                                          start  end
    builds (0 where brought along), driver program                      0   45
    beside them: versions; Triton, 10 processes, ~30 variants each       0   60
    backends, CUDA in 10 processes, captured, memcheck, racecheck       45   75
    bandwidth: 16 cases, a copy beside each                            75  115
    a layer against its products                                      115  127
    step: eager, captured, ours; its kernels                          127  155
    torch.compile (10 to 30 a case) and JAX, the step first           155  232

    part 2
    builds, if part 1 did not; versions                                  0    8
    tests marked gpu, CUDA's                                             8   70
    what part 1 had no time for                                         70    ?
    tests marked gpu, Triton's: ~1,800 variants of 1.4 s in 14 processes ?  232
"""
