// SPDX-License-Identifier: Apache-2.0
// Calls through gRPC's generic stub.
#include "tests/api/raw_call.h"

#include <gtest/gtest.h>

#include <chrono>

#include "google/protobuf/empty.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"

namespace trapline::daemon {
namespace {

using google::protobuf::UnknownFieldSet;

std::string TextOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices)
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

// The values of a field that holds bytes or messages.
std::vector<std::string> FieldsOf(const std::string& message, int number) {
  UnknownFieldSet fields;
  EXPECT_TRUE(fields.ParseFromString(message));
  std::vector<std::string> values;
  for (int i = 0; i < fields.field_count(); ++i) {
    const auto& field = fields.field(i);
    if (field.number() == number &&
        field.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      values.push_back(field.length_delimited());
  }
  return values;
}

}  // namespace

grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                     const std::string& request, std::vector<std::string>* responses) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  grpc::CompletionQueue queue;
  auto done = [&queue] {
    void* tag;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  auto call = stub.PrepareCall(&context, path, &queue);
  call->StartCall(nullptr);
  bool going = done();
  const grpc::Slice slice(request);
  if (going) {
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    done();  // a call that was refused at once takes no request, and still has a status
  }
  for (grpc::ByteBuffer response; going; response.Clear()) {
    call->Read(&response, nullptr);
    going = done();
    if (going && responses != nullptr) responses->push_back(TextOf(response));
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  done();
  queue.Shutdown();
  while (done()) {
  }
  return status;
}

std::vector<std::string> ListServices(const std::shared_ptr<grpc::Channel>& channel) {
  // grpc/reflection/v1alpha/reflection.proto: list_services is field 7, its answer field 6, which
  // has services as field 1, whose names are field 1.
  std::vector<std::string> responses, names;
  const grpc::Status status =
      RawCall(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              std::string("\x3a\x00", 2), &responses);
  EXPECT_TRUE(status.ok()) << status.error_message();
  for (const std::string& response : responses) {
    for (const std::string& list : FieldsOf(response, 6)) {
      for (const std::string& service : FieldsOf(list, 1)) {
        for (const std::string& name : FieldsOf(service, 1)) names.push_back(name);
      }
    }
  }
  return names;
}

}  // namespace trapline::daemon
