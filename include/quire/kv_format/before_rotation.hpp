#pragma once

#include <string_view>

#include <quire/kv_format/channel_groups.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// A format whose keys are stored before rotary embedding and turned where they are read: channels
/// then keep their range from token to token. In a model without rotary embedding nothing changes.
/// \source KVQuant (Hooper et al., NeurIPS '24): pre-RoPE key quantisation.
template <KvFormatPolicy Format>
struct BeforeRotation {
  static constexpr auto text = Name<112>().add("pre_rope_").add(Format::name);
  static constexpr std::string_view name = text;
  struct Keys : keys_of<Format> {
    static constexpr bool before_rotation = true;
  };
  using Values = values_of<Format>;
};
static_assert(KvFormatPolicy<BeforeRotation<ChannelGroups<2, 32>>>);

}  // namespace quire::kv_format
