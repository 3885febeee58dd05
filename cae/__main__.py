import gc

from cae.cli import main

if __name__ == "__main__":
    gc.set_threshold(
        10_000
    )  # libraries make a million objects that stay: not worth a search every 700, a tenth of the time
    main()
