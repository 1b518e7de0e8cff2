// The same as run_library.py in C++, with the runtime of TVM and the headers of tvm_ffi alone. docs/sparsity_flow.md has the command that compiles it.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using tvm::ffi::Any;
using tvm::ffi::AnyView;
using tvm::ffi::Array;
using tvm::ffi::Module;
using tvm::ffi::Tensor;

struct HostMemory {
  // Compiled code takes for granted that tensors begin at a multiple of 64 bytes.
  void AllocData(DLTensor* tensor) {
    size_t size = (tvm::ffi::GetDataSize(*tensor) + 63) / 64 * 64;
    tensor->data = std::memset(std::aligned_alloc(64, size), 0, size);
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

static Tensor Zeros(std::vector<int64_t> shape, DLDataType type) {
  return Tensor::FromNDAlloc(HostMemory(), tvm::ffi::Shape(shape), type, DLDevice{kDLCPU, 0});
}

// The whole numbers after `"key":` of the JSON that the library gives: one, or those of a list.
static std::vector<int64_t> Numbers(const std::string& json, const std::string& key) {
  std::vector<int64_t> found;
  size_t at = json.find("\"" + key + "\":") + key.size() + 3;
  do {
    at = json.find_first_of("0123456789", at);
    size_t end = json.find_first_not_of("0123456789", at);
    found.push_back(std::stoll(json.substr(at, end - at)));
    at = end;
  } while (json.compare(at, 2, ", ") == 0 && std::isdigit(json[at + 2]));
  return found;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: run_library model.so\n");
    return 1;
  }
  try {
    Module vm = Module::LoadFromFile(argv[1])->GetFunction("vm_load_executable").value()().cast<Module>();
    // Device, its number, and 2: memory that is given back is kept for the next call.
    vm->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, 2);
    Tensor text = vm->GetFunction("about").value()().cast<Tensor>();
    std::string about(static_cast<const char*>(text.data_ptr()), text.shape()[0]);
    bool integers = about.find("\"int32\"") != std::string::npos;
    DLDataType state{static_cast<uint8_t>(integers ? kDLInt : kDLFloat), 32, 1};
    int64_t dim = Numbers(about, "dim")[0], context = Numbers(about, "left")[0] + Numbers(about, "right")[0];

    std::vector<Any> args{Any()};
    for (int64_t count : Numbers(about, "states")) args.push_back(Zeros({count}, state));
    size_t states = args.size() - 1;
    for (int64_t t = 0; t < 10; ++t) {
      Tensor features = Zeros({context + 1, dim}, DLDataType{kDLFloat, 32, 1});
      for (int64_t i = 0; i < (context + 1) * dim; ++i) {
        static_cast<float*>(features.data_ptr())[i] = std::sin(double(t + i / dim + i % dim));
      }
      args[0] = features;
      std::vector<AnyView> views(args.begin(), args.end());
      Any result;
      vm->GetFunction("network").value().CallPacked(views.data(), views.size(), &result);
      Array<Any> out = result.cast<Array<Any>>();
      for (size_t i = 0; i < states; ++i) args[1 + i] = out[out.size() - states + i];
      Tensor logits = out[0].cast<Tensor>();
      for (int64_t i = 0; i < std::min<int64_t>(4, logits.shape()[1]); ++i) {
        double value = integers ? static_cast<int32_t*>(logits.data_ptr())[i] : static_cast<float*>(logits.data_ptr())[i];
        std::printf(i ? " %.6g" : "%.6g", value);
      }
      std::printf("\n");
    }
  } catch (const std::exception& error) {
    std::string what = error.what();
    std::fprintf(stderr, "%s: %s\n", argv[1], what.substr(0, what.find('\n')).c_str());
    return 1;
  }
}
