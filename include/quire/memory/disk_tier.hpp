#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/core/aligned.hpp>
#include <quire/core/disk_io.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/processors.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/stream_copy.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/step.hpp>
#include <quire/memory/stored_block.hpp>
#include <quire/memory/tier.hpp>
#include <quire/memory/tier_manifest.hpp>

namespace quire {

/// Where a disk tier lies, and how it is reached.
struct DiskTierOptions {
  std::filesystem::path directory;  // made when it is not there
  bool direct = true;               // past the page cache, where the file system can
  bool io_uring = true;             // where the system has it, else pread and pwrite
  unsigned depth = 32;              // transfers under way at once, at most
  /// Told once a kind of fault, with the file's name; by default a line on stderr.
  std::function<void(const std::string&)> warn{};
  disk::FaultHook fault{};  // tests break things here
};

/// What a disk tier has done since it was opened.
struct DiskCounters {
  std::int64_t written = 0, read = 0;  // blocks
  std::int64_t write_faults = 0;       // writes that failed
  std::int64_t read_faults = 0;  // reads that failed, or brought something else than was written
  std::int64_t manifest_faults = 0;
};

/// Blocks in a file, with a manifest beside it that says which text each holds, so that the next
/// process finds them.
///
/// One thread of its own does all transfers, in the order of asking for each slot: write() returns when
/// the block is in a buffer, and waits only where all buffers are in use; start_read() never waits. The
/// checksum of each slot is kept apart from it, seeded with its place and its text, and checked before
/// a read says yes: a slot that was damaged, torn, or written by someone else reads as gone. Nothing
/// that the file system does is an error to the caller: what cannot be written or read is gone, the
/// counters say so, and `warn` is told once a kind.
///
/// \cost a copy and a checksum of the block each way beside the transfer.
/// \errors usage, when the directory is in use by another process or is none, or depth is 0.
class DiskTier {
 public:
  static constexpr std::string_view name = "disk";
  static constexpr std::size_t page = 4096;  // what direct transfers are aligned to
  /// Bytes that are under way at most, but for the first four transfers: more leave the caches.
  static constexpr std::size_t in_caches = std::size_t{8} << 20;

  /// fingerprint: of all that the bytes of a block depend on; tiers of different ones may share a
  /// directory.
  DiskTier(DiskTierOptions options, BlockCount slots, std::size_t block_bytes, Tokens block_tokens,
           std::uint64_t fingerprint)
      : options_(std::move(options)),
        block_bytes_(block_bytes),
        identity_{fingerprint, (block_bytes + page - 1) / page * page,
                  static_cast<std::uint64_t>(block_tokens.value)},
        slots_(static_cast<std::size_t>(slots.value)),
        queue_(options_.io_uring, options_.depth) {
    if (options_.depth == 0) {
      throw usage_error("disk.depth", "is 0", "transfers under way at once, 1 or more");
    }
    open_files();
    adopt();
    // Few, and the last one back goes out first: what moves bytes for the disk finds them in a cache, as
    // it would not where it moved blocks to and from their places. On huge pages a transfer stays whole.
    const std::size_t bytes = identity_.slot_bytes;
    depth_ = std::min<std::size_t>(options_.depth, std::max<std::size_t>(4, in_caches / bytes));
    const std::size_t buffers = 4 * depth_;
    buffers_ = AlignedArray<std::byte>(buffers * bytes, std::size_t{2} << 20);
    ask_for_huge_pages(buffers_.data(), buffers_.size());
    for (std::size_t i = buffers; i-- > 0;) free_buffers_.push_back(buffers_.data() + i * bytes);
    thread_ = std::thread([this] { serve(); });
  }
  DiskTier(const DiskTier&) = delete;
  DiskTier& operator=(const DiskTier&) = delete;
  /// Waits for what is under way and closes the manifest.
  ~DiskTier() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    asked_.notify_one();
    thread_.join();
    seal();
    for (const int file : {data_, buffered_, manifest_, lock_}) {
      if (file >= 0) ::close(file);
    }
  }

  [[nodiscard]] BlockCount slots() const { return static_cast<std::int64_t>(slots_.size()); }
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  /// "io_uring" or "pwrite"; whether the page cache is passed by.
  [[nodiscard]] std::string_view back_end() const { return queue_.name(); }
  [[nodiscard]] bool direct() const { return direct_; }
  [[nodiscard]] std::string data_file() const { return path(".kv").string(); }
  [[nodiscard]] std::string manifest_file() const { return path(".manifest").string(); }

  /// What an earlier tier of the same fingerprint left here; as of when this one was opened.
  [[nodiscard]] std::span<const StoredBlock> stored() const { return stored_; }

  /// Keeps a block. record: its text, where it has one that others should find.
  void write(BlockId slot, std::span<const std::byte> block, const TierRecord* record) {
    assert(block.size() == block_bytes_);
    Job job{.op = disk::Op::write, .slot = slot.value, .buffer = take_buffer()};
    std::memcpy(job.buffer, block.data(), block_bytes_);
    std::memset(job.buffer + block_bytes_, 0, identity_.slot_bytes - block_bytes_);
    if (record != nullptr) {
      job.text = {Kind::put,
                  slot.value,
                  record->id,
                  record->parent,
                  record->salt,
                  0,
                  {record->tokens.begin(), record->tokens.end()}};
    }
    ask(std::move(job));
  }
  void write(BlockId slot, std::span<const std::byte> block) { write(slot, block, nullptr); }

  /// Names a read that has been asked for.
  using Ticket = std::uint64_t;
  /// Begins to read a slot into `target`, which must stay until wait() says how it went.
  [[nodiscard]] Ticket start_read(BlockId slot, std::span<std::byte> target) {
    assert(target.size() == block_bytes_);
    Job job{.op = disk::Op::read, .slot = slot.value};
    job.target = target.data();
    job.ticket = next_ticket_++;
    const Ticket ticket = job.ticket;
    ask(std::move(job));
    return ticket;
  }
  /// Whether the block has been read. Each ticket is waited for once.
  [[nodiscard]] bool wait(Ticket ticket) {
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [&] { return answers_.contains(ticket); });
    const auto answer = answers_.extract(ticket);
    return answer.mapped();
  }
  [[nodiscard]] bool read(BlockId slot, std::span<std::byte> target) {
    return wait(start_read(slot, target));
  }
  /// Makes a slot read as gone, once what was asked for before is done.
  void forget(BlockId slot) { ask({.op = disk::Op::write, .slot = slot.value}); }

  /// Waits until everything that was asked for is done.
  void flush() {
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [&] { return jobs_.empty() && busy_ == 0; });
  }
  /// Slots whose writes have failed since the last call. Appends to `out`.
  void take_lost(std::vector<BlockId>& out) {
    const std::lock_guard lock(mutex_);
    out.insert(out.end(), lost_.begin(), lost_.end());
    lost_.clear();
  }
  [[nodiscard]] DiskCounters counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  using Kind = disk::manifest::Kind;
  using Entry = disk::manifest::Entry;

  struct Job {
    disk::Op op = disk::Op::write;
    std::uint32_t slot = 0;
    std::byte* buffer = nullptr;  // of a read: once it starts; a write without one forgets the slot
    std::byte* target = nullptr;  // of a read
    Ticket ticket = 0;
    Entry text{};  // of a write; id 0: none
    std::uint64_t checksum = 0;
    disk::Transfer transfer{};
    disk::Fault fault{};
  };
  /// What a slot holds. The thread's own; the others look before it starts and after it ends.
  struct SlotState {
    bool sound = false;   // the block was written, and nothing has spoken against it
    bool busy = false;    // a transfer is under way
    bool listed = false;  // the manifest says that `text` is here
    std::uint64_t checksum = 0;
    Entry text{};
  };

  [[nodiscard]] std::filesystem::path path(std::string_view suffix) const {
    char stem[32];
    std::snprintf(stem, sizeof stem, "cache-%016llx",
                  static_cast<unsigned long long>(identity_.fingerprint));
    return options_.directory / (std::string(stem) + std::string(suffix));
  }
  void warn(std::string_view kind, const std::string& file, const std::string& what) {
    for (const std::string& told : told_) {
      if (told == kind) return;
    }
    told_.emplace_back(kind);
    const std::string line = file + ": " + what;
    if (options_.warn) return options_.warn(line);
    std::fprintf(stderr, "quire: warning: %s\n", line.c_str());
  }

  // ---- opening and closing ------------------------------------------------------------------------

  void open_files() {
    std::error_code failed;
    std::filesystem::create_directories(options_.directory, failed);
    if (std::filesystem::exists(options_.directory, failed) &&
        !std::filesystem::is_directory(options_.directory, failed)) {
      throw usage_error(options_.directory.string(), "is not a directory", "a directory");
    }
    lock_ = ::open(path(".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(lock_);
      throw usage_error(options_.directory.string(), "is in use by another process",
                        "a directory of its own for each engine");
    }
    const std::string file = data_file();
    buffered_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (buffered_ < 0) {
      const int error = errno;
      buffered_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
      read_only_ = true;
      warn("open", file,
           std::string("cannot be written (") + std::strerror(error) +
               "); the disk tier takes no new blocks");
    }
    if (buffered_ < 0) return;
    struct stat info {};
    if (::fstat(buffered_, &info) == 0) room_ = static_cast<std::uint64_t>(info.st_size);
    const int mode = read_only_ ? O_RDONLY : O_RDWR;
    if (options_.direct) data_ = ::open(file.c_str(), mode | O_DIRECT | O_CLOEXEC);
    direct_ = data_ >= 0;
    if (!direct_) data_ = ::open(file.c_str(), mode | O_CLOEXEC);
  }

  /// Takes over what the manifest says, and begins a new one with it.
  void adopt() {
    const std::string file = manifest_file();
    std::vector<std::byte> bytes;
    if (!read_file(file, bytes)) return begin_manifest();
    disk::manifest::Content content = disk::manifest::decode(identity_, bytes);
    if (data_ < 0) content.entries.clear();
    std::erase_if(content.entries, [this](const Entry& e) { return e.slot >= slots_.size(); });
    if (!content.fault.empty()) {
      counters_.manifest_faults += 1;
      warn("manifest", file,
           content.fault + "; " + std::to_string(content.entries.size()) +
               " blocks that it names soundly are used, others are computed again");
    }
    for (Entry& e : content.entries) {
      stored_.push_back({BlockId{e.slot}, e.id, e.parent, e.salt, e.tokens});
      SlotState& slot = slots_[e.slot];
      slot.sound = slot.listed = true;
      slot.checksum = e.checksum;
      slot.text = std::move(e);
    }
    begin_manifest();
  }
  /// False when there is no such file; what cannot be read is missing from `bytes`.
  [[nodiscard]] bool read_file(const std::string& file, std::vector<std::byte>& bytes) {
    // a pipe in its place must not hold us up
    const int in = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (in < 0) return false;
    struct stat info {};
    if (::fstat(in, &info) == 0 && S_ISREG(info.st_mode)) {
      bytes.resize(static_cast<std::size_t>(info.st_size));
    }
    const int error = disk::transfer(disk::Op::read, in, bytes.data(), bytes.size(), 0);
    ::close(in);
    if (error != 0) {
      counters_.manifest_faults += 1;
      warn("manifest", file, std::string("cannot be read: ") + std::strerror(error));
      bytes.clear();
    }
    return error == 0;
  }
  /// Writes a manifest of what is there now, in place of the one there was.
  void begin_manifest() { (void)write_manifest(false); }
  void seal() {
    if (write_manifest(true)) return;
    if (!read_only_) warn("manifest", manifest_file(), "could not be closed");
  }
  bool write_manifest(bool sealed) {
    if (read_only_ || data_ < 0) return false;
    std::vector<std::byte> bytes = disk::manifest::encode_header(identity_);
    places_ = 0;
    const auto add = [&](const Entry& e) {
      const auto entry = disk::manifest::encode_entry(identity_, e, places_++);
      bytes.insert(bytes.end(), entry.begin(), entry.end());
    };
    for (SlotState& slot : slots_) {
      slot.listed = slot.sound && slot.text.id != 0;
      if (slot.listed) add(slot.text);
    }
    if (sealed) {
      Entry last;
      last.kind = Kind::seal;
      last.slot = static_cast<std::uint32_t>(places_);
      add(last);
    }
    const std::string file = manifest_file(), fresh = file + ".new";
    if (manifest_ >= 0) ::close(manifest_);
    manifest_ = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int error = manifest_ < 0 ? errno : write_listed(bytes, 0);
    if (error == 0 && ::rename(fresh.c_str(), file.c_str()) != 0) error = errno;
    if (error == 0) return true;
    {
      const std::lock_guard lock(mutex_);
      counters_.manifest_faults += 1;
    }
    manifest_sound_ = false;
    warn("manifest", file, std::string("cannot be written: ") + std::strerror(error));
    return false;
  }
  /// Writes into the manifest's file. \return errno
  int write_listed(std::vector<std::byte>& bytes, std::uint64_t offset) {
    std::size_t count = bytes.size();
    int error = 0;
    if (options_.fault) {
      const disk::Fault f = options_.fault(disk::Op::write, "manifest", offset, count);
      if (f.kind == disk::Fault::Kind::error) error = f.error;
      if (f.kind == disk::Fault::Kind::flip) bytes[f.bytes % count] ^= std::byte{1};
      if (f.kind == disk::Fault::Kind::error || f.kind == disk::Fault::Kind::tear) {
        count = std::min(count, f.bytes);
      }
    }
    const int failed = disk::transfer(disk::Op::write, manifest_, bytes.data(), count, offset);
    return error != 0 ? error : failed;
  }
  /// Adds what has become of a slot, or, when the list has grown long, begins one of what there is now.
  /// \pre the slot's state says the same
  void append(const Entry& entry) {
    if (!manifest_sound_ || manifest_ < 0) return;
    if (places_ >= 4 * slots_.size() + 256) return begin_manifest();
    auto bytes = disk::manifest::encode_entry(identity_, entry, places_);
    const std::uint64_t offset = disk::manifest::header_bytes + places_ * bytes.size();
    ++places_;
    const int error = write_listed(bytes, offset);
    if (error == 0) return;
    const std::lock_guard lock(mutex_);
    counters_.manifest_faults += 1;
    manifest_sound_ = false;  // what it says of slots written from now on is caught by checksums
    warn("manifest", manifest_file(), std::string("cannot be written: ") + std::strerror(error));
  }

  /// Gives the file room up to `end` and for as much again, so that writes find their place there:
  /// those that lengthen a file wait for one another.
  void make_room(std::uint64_t end) {
    if (end <= room_) return;
    const std::uint64_t all = slots_.size() * identity_.slot_bytes;
    const std::uint64_t to = std::min(all, std::max(end, 2 * room_));
    const bool made =
        ::fallocate(buffered_, 0, static_cast<off_t>(room_), static_cast<off_t>(to - room_)) == 0;
    room_ = made ? to : all;  // where it cannot be had, the write says why
  }

  // ---- asking ---------------------------------------------------------------------------------------

  /// A buffer for a write. The last one is left to reads: they may stand before all that hold the others.
  [[nodiscard]] std::byte* take_buffer() {
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [this] { return free_buffers_.size() > 1; });
    return take_free_buffer();
  }
  [[nodiscard]] std::byte* take_free_buffer() {
    std::byte* buffer = free_buffers_.back();
    free_buffers_.pop_back();
    return buffer;
  }
  void ask(Job job) {
    bool waits_for_disk = false;
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
      waits_for_disk = std::exchange(listening_, false);
    }
    asked_.notify_one();
    if (waits_for_disk) queue_.wake();
  }

  // ---- the thread -----------------------------------------------------------------------------------

  void serve() {
    leave_pinned_processor();
    for (;;) {
      std::unique_ptr<Job> job;
      {
        std::unique_lock lock(mutex_);
        if (queue_.under_way() == 0 && jobs_.empty()) {
          asked_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
          if (jobs_.empty()) return;
        }
        if (!jobs_.empty() && may_start(jobs_.front())) {
          job = std::make_unique<Job>(std::move(jobs_.front()));
          jobs_.pop_front();
          ++busy_;
          if (job->op == disk::Op::read) job->buffer = take_free_buffer();
        }
        listening_ = !job && jobs_.empty();
      }
      const bool more = job != nullptr;
      if (more) start(std::move(job));
      if (queue_.under_way() == 0) continue;
      disk::Transfer* done = more ? queue_.poll() : queue_.wait();
      if (done == nullptr) continue;
      const auto running = under_way_.extract(done);
      slots_[running.mapped()->slot].busy = false;
      finish(*running.mapped(), done->error);
    }
  }

  [[nodiscard]] bool may_start(const Job& job) const {
    return queue_.under_way() < depth_ && !slots_[job.slot].busy &&
           (job.op == disk::Op::write || !free_buffers_.empty());
  }
  [[nodiscard]] std::uint64_t checksum(const Job& job, std::uint64_t id) const {
    const std::uint64_t seed = hash_combine(mix64(identity_.fingerprint ^ job.slot), id);
    return hash_bytes({job.buffer, static_cast<std::size_t>(identity_.slot_bytes)}, seed);
  }

  void start(std::unique_ptr<Job> job) {
    SlotState& slot = slots_[job->slot];
    if (job->op == disk::Op::write) {
      disown(slot);
      if (job->buffer == nullptr) return finish(*job, 0);
      job->checksum = checksum(*job, job->text.id);
    } else if (!slot.sound) {
      return finish(*job, ENODATA);
    }
    const std::size_t bytes = static_cast<std::size_t>(identity_.slot_bytes);
    const std::uint64_t offset = job->slot * identity_.slot_bytes;
    if (data_ < 0 || (read_only_ && job->op == disk::Op::write)) return finish(*job, EROFS);
    if (options_.fault) job->fault = options_.fault(job->op, "data", offset, bytes);
    using What = disk::Fault::Kind;
    if (job->fault.kind == What::error || job->fault.kind == What::tear) {
      const std::size_t part = std::min(bytes, job->fault.bytes);
      const int failed = disk::transfer(job->op, buffered_, job->buffer, part, offset);
      const bool tear = job->fault.kind == What::tear;
      return finish(*job, failed != 0 ? failed : tear ? 0 : job->fault.error);
    }
    if (job->op == disk::Op::write) make_room(offset + bytes);
    if (job->fault.kind == What::flip && job->op == disk::Op::write) flip(*job);
    job->transfer = {job->op, data_, buffered_, job->buffer, bytes, offset, 0};
    disk::Transfer* transfer = &job->transfer;
    slot.busy = true;
    under_way_.emplace(transfer, std::move(job));
    queue_.start(*transfer);
  }
  void flip(Job& job) const { job.buffer[job.fault.bytes % identity_.slot_bytes] ^= std::byte{1}; }

  void finish(Job& job, int error) {
    SlotState& slot = slots_[job.slot];
    bool sound = error == 0;
    if (job.op == disk::Op::write) {
      if (job.buffer != nullptr && sound) {
        slot.sound = true;
        slot.checksum = job.checksum;
        slot.text = std::move(job.text);
        slot.text.checksum = job.checksum;
        slot.listed = slot.text.id != 0;
        if (slot.listed) append(slot.text);
      }
    } else if (sound) {
      if (job.fault.kind == disk::Fault::Kind::flip) flip(job);
      sound = checksum(job, slot.text.id) == slot.checksum;
      if (sound) {
        stream_copy(job.target, job.buffer, block_bytes_);
      } else {
        error = EBADMSG;
      }
    }
    if (!sound) {
      if (error != ENODATA) tell(job, error);
      disown(slot);
    }
    {
      const std::lock_guard lock(mutex_);
      if (job.op == disk::Op::read) {
        answers_.emplace(job.ticket, sound);
        counters_.read += sound;
        counters_.read_faults += !sound && error != ENODATA;
      } else if (job.buffer != nullptr) {
        counters_.written += sound;
        counters_.write_faults += !sound;
        if (!sound) lost_.push_back(BlockId{job.slot});
      }
      if (job.buffer != nullptr) free_buffers_.push_back(job.buffer);
      --busy_;
    }
    answered_.notify_all();
  }
  /// What the slot held is gone, and the manifest says so before something else is written there.
  void disown(SlotState& slot) {
    slot.sound = false;
    if (!std::exchange(slot.listed, false)) return;
    Entry entry;
    entry.kind = Kind::drop;
    entry.slot = slot.text.slot;
    append(entry);
  }
  void tell(const Job& job, int error) {
    const std::string where = data_file() + ": block " + std::to_string(job.slot);
    if (job.op == disk::Op::write) {
      if (error == EROFS) return;  // said when it was opened
      warn("write", where, std::string("cannot be written: ") + std::strerror(error));
    } else if (error == EBADMSG) {
      warn("checksum", where, "is not what was written there; it is computed again");
    } else {
      warn("read", where,
           std::string("cannot be read: ") + std::strerror(error) + "; it is computed again");
    }
  }

  DiskTierOptions options_;
  std::size_t block_bytes_;
  disk::manifest::Identity identity_;
  std::vector<SlotState> slots_;
  std::vector<StoredBlock> stored_;
  AlignedArray<std::byte> buffers_;  // \shape (buffers, slot_bytes)
  std::vector<std::string> told_;
  int data_ = -1, buffered_ = -1, manifest_ = -1, lock_ = -1;
  std::size_t depth_ = 0;  // transfers under way at most
  bool direct_ = false, read_only_ = false, manifest_sound_ = true;
  std::uint64_t room_ = 0;    // bytes of the data file
  std::uint64_t places_ = 0;  // entries in the manifest
  disk::Queue queue_;
  std::unordered_map<disk::Transfer*, std::unique_ptr<Job>> under_way_;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable asked_, answered_;
  std::deque<Job> jobs_;
  std::vector<std::byte*> free_buffers_;
  std::unordered_map<Ticket, bool> answers_;
  std::vector<BlockId> lost_;
  DiskCounters counters_;
  std::size_t busy_ = 0;  // jobs taken, not finished
  bool stop_ = false;
  bool listening_ = false;  // the thread waits for the disk, and would rather have more to do
  Ticket next_ticket_ = 1;
  std::thread thread_;
};
static_assert(BlockTier<DiskTier>);

}  // namespace quire
