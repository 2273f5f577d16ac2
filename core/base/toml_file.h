// SPDX-License-Identifier: Apache-2.0
// A TOML file, read key by key.
//
// Whoever reads asks for what it knows and gets defaults for what is absent or wrong; the first
// thing that was wrong is remembered, and Check() has it. So does it have a key that nobody asked
// for: one that is misspelt must not silently mean nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "toml++/toml.h"

namespace trapline::config {

class TomlFile;

// One table of a file, which has to outlive it.
class Table {
 public:
  std::string Text(const std::string& key, const std::string& absent = "") const;
  // The same of what may have a number for a name: a whole one is taken as its digits.
  std::string Name(const std::string& key) const;
  // A list of strings. Whole numbers are taken too, as their digits.
  std::vector<std::string> Texts(const std::string& key) const;
  int64_t Number(const std::string& key, int64_t absent, int64_t least, int64_t most) const;
  bool Has(const std::string& key) const;
  // Empty where it is absent.
  Table Sub(const std::string& key) const;
  // The names of the tables within, whatever they are called.
  std::vector<std::string> SubNames() const;
  // Remembers that the value of this key cannot be used.
  void Refuse(const std::string& key, const std::string& why) const;

 private:
  friend class TomlFile;
  Table(TomlFile* file, const toml::table* table, std::string path)
      : file_(file), table_(table), path_(std::move(path)) {}
  const toml::node* Find(const std::string& key) const;
  std::string PathOf(const std::string& key) const;

  TomlFile* file_;
  const toml::table* table_;
  std::string path_;  // "access.viewer"; empty for the file's own
};

class TomlFile {
 public:
  // INVALID_ARGUMENT: not TOML. name: how errors call the file.
  static absl::StatusOr<std::unique_ptr<TomlFile>> Parse(std::string_view text,
                                                         const std::string& name);
  // NOT_FOUND, PERMISSION_DENIED, or UNKNOWN where it cannot be read; else as Parse.
  static absl::StatusOr<std::unique_ptr<TomlFile>> Load(const std::string& path);

  Table root() { return Table(this, &root_, ""); }
  // INVALID_ARGUMENT: what was wrong first. Once everything has been asked for.
  absl::Status Check();

 private:
  friend class Table;
  TomlFile(toml::table root, std::string name) : root_(std::move(root)), name_(std::move(name)) {}
  void Refuse(const toml::node* where, const std::string& path, const std::string& why);
  void RefuseUnasked(const toml::table& table, const std::string& path);

  const toml::table root_;
  const std::string name_;
  std::set<const toml::node*> asked_;
  absl::Status wrong_;
};

}  // namespace trapline::config
