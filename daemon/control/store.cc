// SPDX-License-Identifier: Apache-2.0
// Tables of serialised messages. PRAGMA user_version is the format's number:
//   0  vms(name, vm): definitions alone, of trapline.v1.Vm
//   1  records(name, record), events(sequence, event), facts(name, value)
#include "daemon/control/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/unique_fd.h"
#include "daemon/common/logging.h"

namespace trapline::daemon {
namespace {

constexpr int kBusyMilliseconds = 5000, kFormat = 1;

// SQLite syncs the directory for its log, but not for the directory's own place.
absl::Status SyncDirectory(const std::filesystem::path& directory) {
  base::UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid() && fsync(fd.get()) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the state directory's entry in ", directory.string(), ": ", strerror(errno)));
}

// Definitions are for those who may list VMs. SQLite gives its other files the mode of this one,
// and takes no notice of a file that is empty. It has to be closed again before SQLite opens it,
// whose locks go with the first descriptor of the process that is closed.
absl::Status MakePrivate(const std::string& path) {
  base::UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (fd.valid() && fchmod(fd.get(), 0600) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the state database ", path, ": opening it: ", strerror(errno)));
}

// Damage may leave a message that can be parsed, but hardly its name.
bool Reads(const v1::Vm& vm, const std::string& name) { return vm.name() == name; }

}  // namespace

absl::Status Store::Failed(const std::string& what) {
  std::string message = absl::StrCat("the state database ", path_, ": ", what, ": ",
                                     db_ ? sqlite3_errmsg(db_) : "out of memory");
  if (db_ && (sqlite3_errcode(db_) == SQLITE_FULL || sqlite3_system_errno(db_) == ENOSPC ||
              sqlite3_system_errno(db_) == EDQUOT)) {
    return absl::ResourceExhaustedError(absl::StrCat(message, "; make room there, and try again"));
  }
  return absl::UnavailableError(message);
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& path) {
  if (auto status = MakePrivate(path); !status.ok()) return status;
  sqlite3* db = nullptr;
  int opened =
      sqlite3_open_v2(path.c_str(), &db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr);
  auto store = std::unique_ptr<Store>(new Store(db));
  store->path_ = path;
  if (opened != SQLITE_OK) return store->Failed("opening it");
  sqlite3_busy_timeout(db, kBusyMilliseconds);
  if (auto status = store->Prepare(); !status.ok()) return status;
  const std::filesystem::path directory = std::filesystem::absolute(path).parent_path();
  if (auto status = SyncDirectory(directory.parent_path()); !status.ok()) return status;
  return store;
}

Store::~Store() { sqlite3_close(db_); }

absl::Status Store::Prepare() {
  for (const char* sql : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"}) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return Failed(sql);
  }
  auto version = Column("PRAGMA user_version");
  if (!version.ok()) return version.status();
  int format = 0;
  if (version->empty() || !absl::SimpleAtoi(version->front(), &format) || format > kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat("the state database ", path_, " has format ", format,
                     ", of a newer traplined; this one knows those up to ", kFormat,
                     ": start the newer one, or give another --state-dir"));
  }
  if (format < kFormat) {
    if (auto status = TakeOverFirstFormat(); !status.ok()) return status;
  }
  auto epoch = Column("SELECT value FROM facts WHERE name = 'epoch'");
  if (!epoch.ok()) return epoch.status();
  if (epoch->size() != 1)
    return absl::DataLossError(absl::StrCat("the state database ", path_, " has lost its epoch"));
  epoch_ = epoch->front();
  return absl::OkStatus();
}

absl::Status Store::TakeOverFirstFormat() {
  auto run = [this](const char* sql) { return Run(sql, {}); };
  if (auto status = run("BEGIN IMMEDIATE"); !status.ok()) return status;
  absl::Cleanup undo = [&] { run("ROLLBACK").IgnoreError(); };
  for (const char* sql :
       {"CREATE TABLE IF NOT EXISTS vms (name TEXT PRIMARY KEY, vm BLOB NOT NULL)",
        "CREATE TABLE records (name TEXT PRIMARY KEY, record BLOB NOT NULL)",
        "CREATE TABLE events (sequence INTEGER PRIMARY KEY, event BLOB NOT NULL)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)"}) {
    if (auto status = run(sql); !status.ok()) return status;
  }
  auto rows = Rows<2>("SELECT name, vm FROM vms");
  if (!rows.ok()) return rows.status();
  for (const auto& [name, bytes] : *rows) {
    record::v1::VmRecord record;
    const bool reads = record.mutable_vm()->ParseFromString(bytes) && Reads(record.vm(), name);
    // What is damaged stays what it is.
    if (auto status = Put(name, reads ? record.SerializeAsString() : bytes); !status.ok())
      return status;
  }
  if (auto status = run("DROP TABLE vms"); !status.ok()) return status;
  const std::string epoch = absl::StrCat(absl::Hex(absl::Uniform<uint64_t>(absl::BitGen())));
  if (auto status = Run("INSERT INTO facts VALUES ('epoch', CAST(? AS TEXT))", {epoch});
      !status.ok())
    return status;
  if (auto status = run(absl::StrCat("PRAGMA user_version = ", kFormat).c_str()); !status.ok())
    return status;
  if (auto status = run("COMMIT"); !status.ok()) return status;
  std::move(undo).Cancel();
  return absl::OkStatus();
}

absl::Status Store::Run(const std::string& sql, const std::vector<std::string>& arguments) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
    return Failed(sql);
  for (size_t i = 0; i < arguments.size(); ++i) {
    sqlite3_bind_blob(statement, static_cast<int>(i) + 1, arguments[i].data(),
                      static_cast<int>(arguments[i].size()), SQLITE_STATIC);
  }
  int result;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
  }
  absl::Status status = result == SQLITE_DONE ? absl::OkStatus() : Failed(sql);
  sqlite3_finalize(statement);
  return status;
}

template <size_t columns>
absl::StatusOr<std::vector<std::array<std::string, columns>>> Store::Rows(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
    return Failed(sql);
  std::vector<std::array<std::string, columns>> rows;
  int result;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
    auto& row = rows.emplace_back();
    for (size_t i = 0; i < columns; ++i) {
      // The bytes first: asking for them may convert the value.
      const void* bytes = sqlite3_column_blob(statement, static_cast<int>(i));
      const int size = sqlite3_column_bytes(statement, static_cast<int>(i));
      if (bytes) row[i].assign(static_cast<const char*>(bytes), static_cast<size_t>(size));
    }
  }
  absl::Status status = result == SQLITE_DONE ? absl::OkStatus() : Failed(sql);
  sqlite3_finalize(statement);
  if (!status.ok()) return status;
  return rows;
}

absl::StatusOr<std::vector<std::string>> Store::Column(const std::string& sql) {
  auto rows = Rows<1>(sql);
  if (!rows.ok()) return rows.status();
  std::vector<std::string> values;
  values.reserve(rows->size());
  for (auto& [value] : *rows) values.push_back(std::move(value));
  return values;
}

absl::Status Store::Put(const std::string& name, const std::string& record) {
  return Run("INSERT OR REPLACE INTO records VALUES (CAST(? AS TEXT), ?)", {name, record});
}

absl::Status Store::Write(const StoreChange& change) {
  if (auto status = Run("BEGIN IMMEDIATE", {}); !status.ok()) return status;
  absl::Status status = WriteParts(change);
  if (status.ok()) status = Run("COMMIT", {});
  // An error may have undone it already; then there is nothing left to undo.
  if (!status.ok()) Run("ROLLBACK", {}).IgnoreError();
  return status;
}

absl::Status Store::WriteParts(const StoreChange& change) {
  for (const record::v1::VmRecord& record : change.put) {
    if (auto status = Put(record.vm().name(), record.SerializeAsString()); !status.ok())
      return status;
  }
  for (const std::string& name : change.erase) {
    if (auto status = Run("DELETE FROM records WHERE name = CAST(? AS TEXT)", {name}); !status.ok())
      return status;
  }
  for (const v1::VmEvent& event : change.events) {
    if (auto status = Run(absl::StrCat("INSERT INTO events VALUES (", event.sequence(), ", ?)"),
                          {event.SerializeAsString()});
        !status.ok())
      return status;
  }
  if (change.events.empty()) return absl::OkStatus();
  return Run(absl::StrCat("DELETE FROM events WHERE sequence <= ",
                          static_cast<int64_t>(change.events.back().sequence()) - kEventsKept),
             {});
}

absl::StatusOr<StoredRecords> Store::Records() {
  auto rows = Rows<2>("SELECT name, record FROM records ORDER BY name");
  if (!rows.ok()) return rows.status();
  StoredRecords stored;
  for (const auto& [name, bytes] : *rows) {
    record::v1::VmRecord record;
    if (record.ParseFromString(bytes) && Reads(record.vm(), name)) {
      stored.records.push_back(std::move(record));
      continue;
    }
    Log(spdlog::level::err,
        "a VM's record is damaged and is kept as it is; have the database from a backup, or delete "
        "the VM by force to give it up",
        {{"name", name}, {"database", path_}, {"bytes", absl::StrCat(bytes.size())}});
    stored.unreadable.push_back(name);
  }
  return stored;
}

absl::StatusOr<std::vector<v1::VmEvent>> Store::Events() {
  auto rows = Rows<2>("SELECT sequence, event FROM events ORDER BY sequence");
  if (!rows.ok()) return rows.status();
  std::vector<v1::VmEvent> events;
  events.reserve(rows->size());
  for (const auto& [sequence, bytes] : *rows) {
    v1::VmEvent event;
    if (event.ParseFromString(bytes) && absl::StrCat(event.sequence()) == sequence) {
      events.push_back(std::move(event));
    } else {
      Log(spdlog::level::err, "an event of the past is damaged and is left out",
          {{"sequence", sequence}, {"database", path_}});
    }
  }
  return events;
}

}  // namespace trapline::daemon
