"""``make gpu-check``: all checks that need a GPU, in two parts of 240 s, with the packages installed there.

Each stage runs in its own process and has a deadline. Its results are lines of ``gpu-check.jsonl``, each on
disk as soon as it is known. ``stages.py`` lists the stages, ``schedule.py`` runs them and ``record.py``
stores their rows. The estimated times on 16 cores and one H100, in seconds (never measured):

    part 1                                                              start  end
    builds (skipped if already built), driver program                       0   50
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
    stages that part 1 had no time for: JAX                                70  110
    tests marked gpu, Triton's: ~1,800 variants of 1.4 s, 14 processes    110  290

The last line does not fit if part 1 left stages. Its counts and failures so far are kept. If part 2 is
started again with the same folder, it runs only the stages that have not ended.
"""
