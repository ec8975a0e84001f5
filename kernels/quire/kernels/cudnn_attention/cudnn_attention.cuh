#pragma once

#include <cudnn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <quire/core/error.hpp>
#include <quire/kernels/cudnn_attention/plan.hpp>
#include <quire/kernels/kv_access.hpp>
#include <quire/simt/device_array.cuh>

namespace quire::kernels {

/// What one call of cuDNN's attention reads and writes; all but the scale is the device's.
template <class Key>
struct CudnnAttentionArguments {
  using Query = typename Key::Query;
  const Query* q = nullptr;  // \shape (sequences, queries, heads, head_dim), rows q_stride apart
  Query* out = nullptr;      // \shape as q, rows out_stride apart
  KvPool cache;
  const std::uint32_t* blocks = nullptr;  // \shape (sequences) block tables, table_stride apart
  const std::int32_t* queries = nullptr;  // \shape (sequences): how many it has
  const std::int32_t* tokens =
      nullptr;      // \shape (sequences): how many are stored, its queries' too
  float scale = 1;  // of the product of query and key
};

/// Paged attention by cuDNN over the same pool, blocks and block tables as the kernels here: a second
/// back end to compare with, for decode steps and causal prompts. Plans are kept from call to call.
/// \errors state, naming the call and the shape, when the library fails; usage, when it has no engine
/// for a shape (incompatible() says so beforehand)
/// \source cuDNN 9.11 or later; see AttentionGraph
class CudnnAttention {
  struct Library {
    cudnnHandle_t handle = nullptr;
    cudaStream_t stream = nullptr;  // that it is set to
    Library() = default;
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;
    ~Library() {
      if (handle != nullptr) cudnnDestroy(handle);
    }
  };
  struct Made {
    std::string asked;
    cudnn::Plan plan;
    simt::DeviceArray<std::byte> workspace;
  };

 public:
  static constexpr std::string_view name = "cudnn_attention";

  CudnnAttention() { cudnn::check(cudnnCreate(&cudnn_->handle), "cudnnCreate", name); }

  /// Why cuDNN does not compute a shape; empty when it does. Makes the plan.
  [[nodiscard]] const std::string& incompatible(const cudnn::AttentionShape& shape) {
    return find(shape).plan.incompatible;
  }

  /// Work that can be run many times: the pointers stay as they were, what they point to need not.
  /// \pre this outlives it
  class Bound {
   public:
    void operator()(simt::Stream stream = {}) const {
      if (stream.handle != cudnn_->stream) {
        cudnn::check(cudnnSetStream(cudnn_->handle, stream.handle), "cudnnSetStream", made_->asked);
        cudnn_->stream = stream.handle;
      }
      cudnn::check(cudnnBackendExecute(cudnn_->handle, made_->plan.execution->raw(), pack_->raw()),
                   "cudnnBackendExecute", made_->asked);
    }

   private:
    friend CudnnAttention;
    struct OfHost {
      float scale, nothing;
    };
    Library* cudnn_ = nullptr;
    const Made* made_ = nullptr;
    std::unique_ptr<OfHost> of_host_;
    std::unique_ptr<cudnn::Descriptor> pack_;
  };

  template <class Key>
  [[nodiscard]] Bound bind(const cudnn::AttentionShape& shape,
                           const CudnnAttentionArguments<Key>& a) {
    Made& made = find(shape);
    if (!made.plan.incompatible.empty()) throw usage_error(name, made.plan.incompatible);
    Bound bound;
    bound.cudnn_ = cudnn_.get();
    bound.made_ = &made;
    bound.of_host_ = std::make_unique<Bound::OfHost>(
        Bound::OfHost{a.scale, -std::numeric_limits<float>::infinity()});
    bound.pack_ = std::make_unique<cudnn::Descriptor>(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
                                                      made.asked + ": pointers");
    const std::array<std::pair<std::int64_t, const void*>, 10> all{{
        {cudnn::q_tensor, a.q},
        {cudnn::k_tensor, Key::key_slab(a.cache, 0, 0)},
        {cudnn::v_tensor, Key::value_slab(a.cache, 0, 0)},
        {cudnn::out_tensor, a.out},
        {cudnn::k_table_tensor, a.blocks},
        {cudnn::v_table_tensor, a.blocks},
        {cudnn::queries_tensor, a.queries},
        {cudnn::tokens_tensor, a.tokens},
        {cudnn::scale_tensor, &bound.of_host_->scale},
        {cudnn::nothing_tensor, &bound.of_host_->nothing},
    }};
    std::array<std::int64_t, all.size()> names{};
    std::array<void*, all.size()> pointers{};
    for (std::size_t i = 0; i < all.size(); ++i) {
      names[i] = all[i].first;
      pointers[i] = const_cast<void*>(all[i].second);  // as the interface has it
    }
    void* workspace = made.workspace.data();
    bound.pack_
        ->set_all(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
                  std::span<const std::int64_t>(names))
        .set_all(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                 std::span<void* const>(pointers))
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
        .finish();
    return bound;
  }

 private:
  Made& find(const cudnn::AttentionShape& shape) {
    const auto found = made_.find(shape);
    if (found != made_.end()) return *found->second;
    auto made = std::make_unique<Made>();
    made->asked = shape.name();
    made->plan = cudnn::make_plan(shape, {.handle = cudnn_->handle});
    if (made->plan.workspace_bytes > 0) {
      made->workspace =
          simt::DeviceArray<std::byte>(static_cast<std::size_t>(made->plan.workspace_bytes));
    }
    return *made_.emplace(shape, std::move(made)).first->second;
  }

  std::unique_ptr<Library> cudnn_ = std::make_unique<Library>();
  std::map<cudnn::AttentionShape, std::unique_ptr<Made>> made_;  // where they are, they stay
};

}  // namespace quire::kernels
