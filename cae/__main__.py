import gc

from cae.cli import main

if __name__ == "__main__":
    # Libraries make a million objects that stay: a search for garbage every 700 is a tenth of importing them.
    gc.set_threshold(10_000)
    main()
