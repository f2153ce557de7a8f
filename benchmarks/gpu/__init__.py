"""``make gpu-check``: everything that needs a GPU, in two parts of 240 s, with what is installed there.

Each stage runs in a process of its own and has a deadline. What it finds is a line of ``gpu-check.jsonl``,
which is on the disk the moment it is known. ``stages.py`` lists the stages, ``schedule.py`` runs them, and
``record.py`` keeps their rows. This is how the time should be spent on 16 cores and one H100, in seconds. It
is an estimate: no GPU has measured it yet.

    part 1                                                              start  end
    builds (none where brought along), driver program                       0   50
    meanwhile: versions;   Triton, 10 processes, 10 to 30 variants each     0   60
    CUDA in 10 processes, captured calls, memcheck, racecheck              50   80
    bandwidth: 13 cases of 2 to 4 s, each next to a copy                   80  120
    a layer and its products                                              120  130
    step: eager, captured, ours; what a step launches                     130  155
    torch.compile, 5 cases of 5 to 10 s, two steps of 20                  155  230
    JAX, if time is left                                                  230  232

    part 2
    builds, if part 1 did not; versions                                     0    8
    tests marked gpu, CUDA's                                                8   70
    what part 1 had no time for: JAX                                       70  110
    tests marked gpu, Triton's: ~1,800 variants of 1.4 s, 14 processes    110  290

The last line does not fit where part 1 left something. Its counts and failures so far are kept, and part 2,
started once more into the same folder, runs only what has not ended.
"""
