// A shared library that is opened at run time, so that programs run where it is not installed.
#pragma once

#include <string>

namespace gannet::kernels::vendor {

class Library {
 public:
  // soname: "libcudnn.so.9". Looked for where the loader looks; then beside the CUDA runtime of this program, where a toolkit
  // has it; then in the folder `wheel` of the PyPI wheels beside that ("cudnn"). InputError says what is missing.
  Library(const std::string& soname, const std::string& wheel);
  ~Library();
  Library(Library&& other) noexcept : handle_(other.handle_), name_(std::move(other.name_)) { other.handle_ = nullptr; }
  Library& operator=(Library&&) = delete;

  template <typename Function>
  void bind(Function*& function, const char* symbol) const {
    function = reinterpret_cast<Function*>(address_of(symbol));
  }

 private:
  void* address_of(const char* symbol) const;  // InputError where it is not in the library

  void* handle_ = nullptr;
  std::string name_;
};

}  // namespace gannet::kernels::vendor
