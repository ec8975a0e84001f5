#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) || defined(QUIRE_SIMT_UCONTEXT)
#define QUIRE_SIMT_PORTABLE_SWITCH 1
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define QUIRE_SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUIRE_SIMT_ASAN 1
#endif
#endif
#if defined(QUIRE_SIMT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(QUIRE_SIMT_PORTABLE_SWITCH)
// Saves what the System V ABI asks a callee to keep; ucontext also saves the signal mask, with a
// system call, and takes ten times as long.
extern "C" void quire_simt_switch(void** from, void* to);
asm(R"(
.text
.weak quire_simt_switch
.type quire_simt_switch,@function
quire_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size quire_simt_switch,.-quire_simt_switch
)");
#endif

namespace quire::simt::emulator {

/// A flow of control with a stack of its own. The default one is whoever runs now.
class Context {
 public:
  /// Starts over at `entry`, which never returns. \pre stack: `bytes` long, 16-byte aligned
  void prepare(std::byte* stack, std::size_t bytes, void (*entry)()) {
    stack_ = stack;
    bytes_ = bytes;
#if defined(QUIRE_SIMT_ASAN)
    ASAN_UNPOISON_MEMORY_REGION(stack, bytes);  // frames of whoever was here before
    fake_ = nullptr;
#endif
#if defined(QUIRE_SIMT_PORTABLE_SWITCH)
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#else
    auto* top = reinterpret_cast<std::uintptr_t*>(stack + bytes);
    *--top = 0;  // where `entry` would return to; also aligns its frame as a call does
    *--top = reinterpret_cast<std::uintptr_t>(entry);
    for (int i = 0; i < 6; ++i) *--top = 0;
    pointer_ = top;
#endif
  }

  /// Leaves this context and continues `to`; returns when someone switches back.
  void switch_to(Context& to, [[maybe_unused]] bool forever = false) {
#if defined(QUIRE_SIMT_ASAN)
    __sanitizer_start_switch_fiber(forever ? nullptr : &fake_, to.stack_, to.bytes_);
#endif
#if defined(QUIRE_SIMT_PORTABLE_SWITCH)
    swapcontext(&context_, &to.context_);
#else
    quire_simt_switch(&pointer_, to.pointer_);
#endif
    arrived();
  }

  /// What a context does first, once it runs. \shape from: whoever first switched to a fiber, whose
  /// stack is learnt this way; null otherwise
  void arrived([[maybe_unused]] Context* from = nullptr) {
#if defined(QUIRE_SIMT_ASAN)
    const void* bottom = nullptr;
    std::size_t bytes = 0;
    __sanitizer_finish_switch_fiber(fake_, &bottom, &bytes);
    if (from != nullptr && from->stack_ == nullptr) {
      from->stack_ = static_cast<const std::byte*>(bottom);
      from->bytes_ = bytes;
    }
#endif
  }

 private:
  const std::byte* stack_ = nullptr;
  std::size_t bytes_ = 0;
#if defined(QUIRE_SIMT_ASAN)
  void* fake_ = nullptr;
#endif
#if defined(QUIRE_SIMT_PORTABLE_SWITCH)
  ucontext_t context_{};
#else
  void* pointer_ = nullptr;
#endif
};

}  // namespace quire::simt::emulator
