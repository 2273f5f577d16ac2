// SPDX-License-Identifier: Apache-2.0
// Walks a descriptor.
#include "tests/fuzz/message_maker.h"

#include <limits>

namespace trapline {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kDeepest = 5;
constexpr size_t kMostRepeated = 4, kLongestText = 64;

class Maker {
 public:
  Maker(Input& input, std::span<const std::string> words) : input_(input), words_(words) {}

  // Each second field is left as it is, all of them once the input is used up.
  void Fill(Message* message, int depth = 0) {
    const auto& descriptor = *message->GetDescriptor();
    for (int i = 0; i < descriptor.field_count() && input_.left > 0; ++i) {
      const FieldDescriptor& field = *descriptor.field(i);
      auto how = input_.Take<uint8_t>();
      if (how % 2 == 0 || (depth == kDeepest && field.message_type())) continue;
      size_t count = field.is_repeated() ? how / 2 % kMostRepeated : 1;
      for (size_t n = 0; n < count; ++n) Set(message, field, depth);
    }
  }

 private:
  template <typename T>
  T Number() {
    constexpr T kLeast = std::numeric_limits<T>::min(), kMost = std::numeric_limits<T>::max();
    constexpr T kEdges[] = {0, 1, 2, 16, 4096, T{1} << 24, kLeast, kMost, kMost / 2 + 1};
    auto how = input_.Take<uint8_t>();
    return how < 128 ? kEdges[how % std::size(kEdges)] : input_.Take<T>();
  }

  std::string Text() {
    auto how = input_.Take<uint8_t>();
    if (how < 192) return input_.OneOf(words_);
    std::string text = input_.Bytes(how % kLongestText);
    // What is no UTF-8 does not get past Protobuf.
    for (char& c : text) c = static_cast<char>(c & 0x7f);
    return text;
  }

  template <typename T>
  static void Put(Message* message, const FieldDescriptor& field, T value,
                  void (google::protobuf::Reflection::*set)(Message*, const FieldDescriptor*, T)
                      const,
                  void (google::protobuf::Reflection::*add)(Message*, const FieldDescriptor*, T)
                      const) {
    (message->GetReflection()->*(field.is_repeated() ? add : set))(message, &field,
                                                                   std::move(value));
  }

  void Set(Message* message, const FieldDescriptor& field, int depth) {
    using R = google::protobuf::Reflection;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return Put<int32_t>(message, field, Number<int32_t>(), &R::SetInt32, &R::AddInt32);
      case FieldDescriptor::CPPTYPE_INT64:
        return Put<int64_t>(message, field, Number<int64_t>(), &R::SetInt64, &R::AddInt64);
      case FieldDescriptor::CPPTYPE_UINT32:
        return Put<uint32_t>(message, field, Number<uint32_t>(), &R::SetUInt32, &R::AddUInt32);
      case FieldDescriptor::CPPTYPE_UINT64:
        return Put<uint64_t>(message, field, Number<uint64_t>(), &R::SetUInt64, &R::AddUInt64);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Put<double>(message, field, input_.Take<double>(), &R::SetDouble, &R::AddDouble);
      case FieldDescriptor::CPPTYPE_FLOAT:
        return Put<float>(message, field, input_.Take<float>(), &R::SetFloat, &R::AddFloat);
      case FieldDescriptor::CPPTYPE_BOOL:
        return Put<bool>(message, field, input_.Take<uint8_t>() % 2 != 0, &R::SetBool, &R::AddBool);
      case FieldDescriptor::CPPTYPE_ENUM:  // values that are not declared, too
        return Put<int>(message, field, input_.Take<int8_t>() % 16, &R::SetEnumValue,
                        &R::AddEnumValue);
      case FieldDescriptor::CPPTYPE_STRING:
        return Put<std::string>(message, field, Text(), &R::SetString, &R::AddString);
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        const R* reflection = message->GetReflection();
        return Fill(field.is_repeated() ? reflection->AddMessage(message, &field)
                                        : reflection->MutableMessage(message, &field),
                    depth + 1);
      }
    }
  }

  Input& input_;
  const std::span<const std::string> words_;
};

}  // namespace

void FillMessage(Input& input, std::span<const std::string> words, Message* message) {
  Maker(input, words).Fill(message);
}

}  // namespace trapline
