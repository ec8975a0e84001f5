#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/tensor_view.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::checkpoint {

/// Named tensors and the memory behind them; copies are cheap and share both.
class TensorSet {
 public:
  struct Entry {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;  // inside one of the owners
  };

  TensorSet() : TensorSet("no tensors", {}, {}) {}

  /// Takes entries whose bytes stay valid as long as `owners` live; `where` names them in errors.
  /// files: all that the entries were read from; none where they were made
  /// \pre names are unique and each entry's bytes match its shape and dtype
  TensorSet(std::string where, std::vector<Entry> entries,
            std::vector<std::shared_ptr<const void>> owners, std::vector<std::string> files = {}) {
    auto storage = std::make_shared<Storage>();
    storage->where = std::move(where);
    storage->entries = std::move(entries);
    storage->owners = std::move(owners);
    storage->files = std::move(files);
    std::sort(storage->entries.begin(), storage->entries.end(),
              [](const Entry& a, const Entry& b) { return a.name < b.name; });
    for (const Entry& entry : storage->entries) {
      storage->views.push_back({entry.name, entry.dtype, entry.shape, entry.bytes});
    }
    storage_ = std::move(storage);
  }

  [[nodiscard]] std::size_t size() const { return storage_->views.size(); }
  /// All tensors in the order of their names.
  [[nodiscard]] std::span<const TensorView> all() const { return storage_->views; }
  /// The file or directory that they came from.
  [[nodiscard]] const std::string& where() const { return storage_->where; }
  /// The files that say all of them; none where they were made in memory.
  [[nodiscard]] const std::vector<std::string>& files() const { return storage_->files; }

  /// \complexity O(log size)
  [[nodiscard]] const TensorView* find(std::string_view name) const {
    const auto& views = storage_->views;
    const auto at =
        std::lower_bound(views.begin(), views.end(), name,
                         [](const TensorView& v, std::string_view n) { return v.name < n; });
    return at != views.end() && at->name == name ? &*at : nullptr;
  }
  [[nodiscard]] bool contains(std::string_view name) const { return find(name) != nullptr; }

  /// Looks a tensor up.
  /// \errors data when there is none of that name; the line lists the nearest names
  [[nodiscard]] const TensorView& at(std::string_view name) const {
    if (const TensorView* found = find(name)) return *found;
    std::vector<std::string_view> names;
    for (const TensorView& view : storage_->views) names.push_back(view.name);
    std::string near;
    for (const std::string& candidate : nearest_names(name, names)) {
      near += (near.empty() ? "" : ", ") + in_quotes(candidate, 120);
    }
    throw data_error(storage_->where, "there is no tensor " + in_quotes(name, 120),
                     near.empty() ? "any tensor at all" : "a name in it; the nearest are " + near);
  }

  /// Looks a tensor up and checks its shape.
  /// \errors data when there is none of that name, or it has another shape
  [[nodiscard]] const TensorView& at(std::string_view name,
                                     std::initializer_list<std::int64_t> shape) const {
    const TensorView& found = at(name);
    const std::span<const std::int64_t> wanted(shape.begin(), shape.size());
    if (!found.has_shape(wanted)) {
      throw data_error(storage_->where,
                       "tensor " + in_quotes(name, 120) + " has shape " + shape_text(found.shape),
                       shape_text(wanted));
    }
    return found;
  }

 private:
  struct Storage {
    std::string where;
    std::vector<Entry> entries;
    std::vector<TensorView> views;
    std::vector<std::shared_ptr<const void>> owners;
    std::vector<std::string> files;
  };
  std::shared_ptr<const Storage> storage_;
};

/// Tensors that are made rather than read, and the memory that they lie in.
class TensorList {
 public:
  template <class T>
  void add(std::string name, DType dtype, std::vector<std::int64_t> shape, std::vector<T> values) {
    auto memory = std::make_shared<const std::vector<T>>(std::move(values));
    entries_.push_back(
        {std::move(name), dtype, std::move(shape), std::as_bytes(std::span(*memory))});
    owners_.push_back(std::move(memory));
  }
  /// Takes a tensor over from a set that is kept. \pre keep(set) is called too
  void add(const TensorView& t) {
    entries_.push_back({std::string(t.name), t.dtype, {t.shape.begin(), t.shape.end()}, t.bytes});
  }
  void keep(const TensorSet& set) { owners_.push_back(std::make_shared<const TensorSet>(set)); }
  [[nodiscard]] TensorSet set(std::string where) {
    return TensorSet(std::move(where), std::move(entries_), std::move(owners_));
  }

 private:
  std::vector<TensorSet::Entry> entries_;
  std::vector<std::shared_ptr<const void>> owners_;
};

/// \errors data when a tensor is of another type, or there is none of that name
inline void check_type(const TensorSet& tensors, const std::string& name, DType dtype) {
  const TensorView& view = tensors.at(name);
  if (view.dtype == dtype) return;
  throw data_error(tensors.where(),
                   "tensor " + in_quotes(name, 120) + " is " + std::string(name_of(view.dtype)),
                   std::string(name_of(dtype)));
}

/// The elements of a tensor. \errors data when there is none of that name, shape and type
template <class T>
[[nodiscard]] std::vector<T> elements_of(const TensorSet& tensors, const std::string& name,
                                         DType dtype, std::initializer_list<std::int64_t> shape) {
  const TensorView& view = tensors.at(name, shape);
  check_type(tensors, name, dtype);
  std::vector<T> out(view.bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), view.bytes.data(), view.bytes.size());
  return out;
}

}  // namespace quire::checkpoint
