"""Which speakers of TIMIT's TEST half are the core test set and which the development set.

The core test set is the 24 speakers of TIMIT's own documentation, two men and a woman for each of the eight
dialect regions. The 50 development speakers are those of A. Halberstadt's thesis (MIT, 1998), which published
comparisons use. Both are disjoint from the 462 speakers of TRAIN.
"""

_CORE_TEST = """
MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 FNLP0 MCMJ0
MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0
"""

_DEV = """
FADG0 FAKS0 FCAL1 FCMH0 FDAC1 FDMS0 FDRW0 FEDW0 FGJD0 FJEM0 FJMG0 FJSJ0 FKMS0 FMAH0 FMML0 FNMR0
FREW0 FSEM0 MAJC0 MBDG0 MBNS0 MBWM0 MCSH0 MDLF0 MDLS0 MDVC0 MERS0 MGJF0 MGLB0 MGWT0 MJAR0 MJFC0
MJSW0 MMDB1 MMDM2 MMJR0 MMWH0 MPDF0 MRCS0 MREB0 MRJM4 MRJR0 MROA0 MRTK0 MRWS1 MTAA0 MTDT0 MTEB0
MTHC0 MWJG0
"""

CORE_TEST = frozenset(_CORE_TEST.split())
DEV = frozenset(_DEV.split())

UTTERANCES = {"train": 3696, "dev": 400, "test": 192}
"""Utterances per split without the SA sentences, which every speaker reads alike."""
