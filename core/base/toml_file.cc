// SPDX-License-Identifier: Apache-2.0
// Reads TOML, and says what is wrong with it and where.
#include "core/base/toml_file.h"

#include <errno.h>

#include <fstream>

#include "absl/strings/str_cat.h"

namespace trapline::config {
namespace {

// A configuration is written by hand; what is larger is another file.
constexpr size_t kMaxFile = 1 << 20;

}  // namespace

std::string Table::PathOf(const std::string& key) const {
  return path_.empty() ? key : absl::StrCat(path_, ".", key);
}

const toml::node* Table::Find(const std::string& key) const {
  const toml::node* node = table_ == nullptr ? nullptr : table_->get(key);
  if (node != nullptr) file_->asked_.insert(node);
  return node;
}

bool Table::Has(const std::string& key) const { return table_ != nullptr && table_->contains(key); }

void Table::Refuse(const std::string& key, const std::string& why) const {
  file_->Refuse(Find(key), PathOf(key), why);
}

std::string Table::Text(const std::string& key, const std::string& absent) const {
  const toml::node* node = Find(key);
  if (node == nullptr) return absent;
  if (const auto* text = node->as_string()) return text->get();
  Refuse(key, "has to be a text, in quotes");
  return absent;
}

std::string Table::Name(const std::string& key) const {
  const toml::node* node = Find(key);
  const auto* number = node == nullptr ? nullptr : node->as_integer();
  return number == nullptr ? Text(key) : absl::StrCat(number->get());
}

std::vector<std::string> Table::Texts(const std::string& key) const {
  std::vector<std::string> out;
  const toml::node* node = Find(key);
  if (node == nullptr) return out;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    Refuse(key, "has to be a list, as in [\"one\", \"two\"]");
    return out;
  }
  for (const toml::node& element : *array) {
    if (const auto* text = element.as_string()) {
      out.push_back(text->get());
    } else if (const auto* number = element.as_integer()) {
      out.push_back(absl::StrCat(number->get()));
    } else {
      Refuse(key, "has to be a list of texts or whole numbers");
    }
  }
  return out;
}

int64_t Table::Number(const std::string& key, int64_t absent, int64_t least, int64_t most) const {
  const toml::node* node = Find(key);
  if (node == nullptr) return absent;
  const auto* number = node->as_integer();
  if (number != nullptr && number->get() >= least && number->get() <= most) return number->get();
  Refuse(key, absl::StrCat("has to be a whole number from ", least, " to ", most));
  return absent;
}

Table Table::Sub(const std::string& key) const {
  const toml::node* node = Find(key);
  const toml::table* table = node == nullptr ? nullptr : node->as_table();
  if (node != nullptr && table == nullptr)
    Refuse(key, absl::StrCat("has to be a table, as in [", PathOf(key), "]"));
  return Table(file_, table, PathOf(key));
}

std::vector<std::string> Table::SubNames() const {
  std::vector<std::string> names;
  if (table_ == nullptr) return names;
  for (const auto& [key, value] : *table_) {
    if (value.is_table()) names.emplace_back(key.str());
  }
  return names;
}

absl::StatusOr<std::unique_ptr<TomlFile>> TomlFile::Parse(std::string_view text,
                                                          const std::string& name) {
  try {
    return std::unique_ptr<TomlFile>(new TomlFile(toml::parse(text, name), name));
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ":", error.source().begin.line, ": not TOML: ", std::string(error.description())));
  }
}

absl::StatusOr<std::unique_ptr<TomlFile>> TomlFile::Load(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFile + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad() || errno == EISDIR)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxFile) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": longer than ", kMaxFile, " bytes; is that a configuration file?"));
  }
  return Parse(text, path);
}

void TomlFile::Refuse(const toml::node* where, const std::string& path, const std::string& why) {
  if (!wrong_.ok()) return;
  const std::string line = where == nullptr ? "" : absl::StrCat(where->source().begin.line, ":");
  wrong_ = absl::InvalidArgumentError(absl::StrCat(name_, ":", line, " ", path, " ", why));
}

void TomlFile::RefuseUnasked(const toml::table& table, const std::string& path) {
  for (const auto& [key, value] : table) {
    const std::string inner_path = absl::StrCat(path, path.empty() ? "" : ".", key.str().data());
    if (!asked_.contains(&value)) {
      Refuse(&value, inner_path, "is not known here; is it misspelt?");
    } else if (const toml::table* inner = value.as_table()) {
      RefuseUnasked(*inner, inner_path);
    }
  }
}

absl::Status TomlFile::Check() {
  RefuseUnasked(root_, "");
  return wrong_;
}

}  // namespace trapline::config
