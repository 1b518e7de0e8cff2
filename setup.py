"""French Press: small LSTM acoustic models, quantized and pruned, and what each compression costs."""

from glob import glob

from setuptools import Extension, find_packages, setup

# The compiled training kernels: plain C loaded through ctypes. Optional: without a compiler the install goes on, and
# training runs on torch alone with the same numbers.
KERNELS = Extension(
    "frenchpress.kernels.native._lstm",
    sources=[f"frenchpress/kernels/native/{name}.c" for name in ("lstm", "singles", "norm", "loss")],
    depends=["frenchpress/kernels/native/common.h"],
    extra_compile_args=["-O3", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi"],
    extra_link_args=["-pthread"],
    libraries=["m"],
    optional=True,
)

# The runtime of packed models, plain C behind native/press.h. Without a compiler numpy gives the same bits, slowly.
# limits.c is for the benchmark alone. Contraction would change the last bit of the features' quantization.
RUNTIME = Extension(
    "frenchpress.packed.native._press",
    sources=sorted(glob("frenchpress/packed/native/*.c")),
    depends=sorted(glob("frenchpress/packed/native/*.h")),
    extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno"],
    libraries=["m"],
    optional=True,
)

setup(
    name="frenchpress",
    version="0.1.0",
    description="Kaldi-style recipes for few-bit, coarse-grain sparse LSTM acoustic models",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["frenchpress", "frenchpress.*", "timit", "timit.*"]),
    package_data={"frenchpress.report.page": ["*.html", "*.css", "*.js"]},
    ext_modules=[KERNELS, RUNTIME],
    entry_points={"console_scripts": ["frenchpress = frenchpress.__main__:installed"]},
    install_requires=[
        "torch>=2.4,<3",
        "numpy>=1.26,<3",
        "pyyaml>=6,<7",
        # Reads archives. Who cannot accept its licence installs the extra native-io and uninstalls it.
        "kaldiio>=2.18,<3",
        "kaldi-native-fbank>=1.20,<2",
        # These two carry the same OpenFst and must move together.
        "kaldifst==1.8.3",
        "kaldi-decoder==0.3.2",
        "soundfile>=0.12,<1",
        "tqdm>=4.60,<5",
    ],
    extras_require={
        # Builds of torch for CUDA bring it. Without a GPU its interpreter runs the kernels in the tests (285 MB).
        "gpu": ["triton>=3.5,<4"],
        "export": ["onnx>=1.16,<2", "onnxruntime>=1.18,<2"],
        # Compiles models (frenchpress to-tvm). Each version renames what its modules are built of.
        "tvm": ["apache-tvm>=0.27,<0.28"],
        "native-io": ["kaldi-native-io>=1.22,<2"],
        # Figures of studies, `frenchpress diagnose` and the demo; and of report/index.html, whose script is in plotly.
        # Without them reports are text and the page has tables.
        "plot": ["matplotlib>=3.8,<4", "plotly>=6,<7"],
        # Drives a Chromium in the tests of the page.
        "browser": ["selenium>=4.20,<5"],
        # Events of trainings (train.tensorboard: true). It is what people have open already.
        "tensorboard": ["tensorboard>=2.12,<3"],
        # The digits of examples/digits_cnn.py come with it.
        "examples": ["scikit-learn>=1.3,<2"],
        # The model of examples/glue_roberta.py.
        "roberta": ["transformers>=4.40,<6"],
        # docs/ as a site (mkdocs.yml).
        "docs": ["mkdocs>=1.6,<2"],
        # ./run.sh --explore: the search itself, and its storage. A database server needs a driver (docs/explore.md).
        "explore": ["optuna>=5,<6"],
        "synth": ["espeakng-loader>=0.2,<1"],
        "test": ["pytest>=8,<10", "ruff>=0.8,<1"],
        "parallel": ["pytest-xdist>=3.7,<4"],
    },
)
