// SPDX-License-Identifier: Apache-2.0
// A terminal on a guest's serial port.
//
// Two threads share one stream. The reader takes output from the daemon and writes it to standard
// output until the stream ends; the caller's thread waits on standard input and on a wake-up
// descriptor. gRPC allows one reader and one writer at a time, so they need no lock between them.
// Who ends first:
//   - the stream (the guest ended, the daemon went away, a signal cancelled it): the reader writes
//   to the wake-up
//     descriptor, and the caller's thread leaves its poll;
//   - the person (Ctrl-] d or q): the caller's thread cancels the stream, and the reader's Read
//   returns.
// Either way the reader is joined before the stream is finished, and the terminal is put back last
// of all.
#include "cli/console.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cli/escape_keys.h"
#include "cli/terminal.h"
#include "core/base/unique_fd.h"

namespace trapline::cli {
namespace {

using ConsoleStream = grpc::ClientReaderWriter<v1::ConsoleRequest, v1::ConsoleResponse>;

constexpr absl::string_view kBanner =
    "trapline: Ctrl-] d detaches, Ctrl-] q stops the VM, Ctrl-] ? helps\r\n";
constexpr absl::string_view kHelp =
    "\r\ntrapline: after Ctrl-]: d detach, q stop the VM, Ctrl-] send Ctrl-] to the guest\r\n";

class ConsoleSession {
 public:
  ConsoleSession(Session& session, const ConsoleOptions& options)
      : session_(session), options_(options), wake_(eventfd(0, EFD_CLOEXEC)) {}

  absl::StatusOr<ConsoleEnd> Run();

 private:
  void Attached();
  void CopyOutput();
  void CopyInput();
  // False where input is over, or an action ended the session.
  bool OneInput();
  bool Send(absl::string_view bytes);
  void Wake();
  void End(ConsoleEnd end);

  Session& session_;
  const ConsoleOptions& options_;
  const base::UniqueFd wake_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<ConsoleStream> stream_;
  EscapeKeys keys_;
  std::atomic<ConsoleEnd> end_{ConsoleEnd::kGuestEnded};
  absl::Status attached_status_;
  absl::Status output_status_;  // the reader's, read after it was joined
};

absl::StatusOr<ConsoleEnd> ConsoleSession::Run() {
  context_ = session_.Context(Patience::kEndless);
  stream_ = session_.vms().Console(context_.get());
  v1::ConsoleRequest attach;
  attach.set_name(options_.vm);
  grpc::Status status;
  {
    const Interrupts::Guard guard(session_.interrupts(), [this] { End(ConsoleEnd::kInterrupted); });
    if (stream_->Write(attach)) Attached();
    status = stream_->Finish();
  }
  if (!attached_status_.ok()) return attached_status_;
  if (!output_status_.ok()) return output_status_;
  const ConsoleEnd end = end_.load();
  if (!status.ok() && end == ConsoleEnd::kGuestEnded) return session_.Explain(status);
  return end;
}

void ConsoleSession::Attached() {
  stream_->WaitForInitialMetadata();
  if (options_.on_attached) attached_status_ = options_.on_attached();
  if (!attached_status_.ok()) {
    context_->TryCancel();
    return;
  }
  // Raw only now: until the guest can be typed at, Ctrl-C should be a plain Ctrl-C.
  std::unique_ptr<RawTerminal> raw;
  if (options_.raw) {
    (void)WriteAll(STDERR_FILENO, kBanner);
    raw = std::make_unique<RawTerminal>(STDIN_FILENO);
  }
  std::thread reader([this] { CopyOutput(); });
  CopyInput();
  reader.join();
}

void ConsoleSession::CopyOutput() {
  v1::ConsoleResponse response;
  while (stream_->Read(&response)) {
    if (response.missed_bytes() > 0) {
      (void)WriteAll(STDERR_FILENO, absl::StrCat("\r\ntrapline: ", response.missed_bytes(),
                                                 " bytes of output were lost\r\n"));
    }
    output_status_ = WriteAll(STDOUT_FILENO, response.output());
    if (!output_status_.ok()) context_->TryCancel();
  }
  Wake();
}

void ConsoleSession::CopyInput() {
  bool open = true;
  while (true) {
    // A negative descriptor is one that poll leaves out.
    std::array<pollfd, 2> fds{{{wake_.get(), POLLIN, 0}, {open ? STDIN_FILENO : -1, POLLIN, 0}}};
    if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    if (fds[1].revents != 0) open = OneInput();
  }
}

bool ConsoleSession::OneInput() {
  std::array<char, 4096> buffer;
  const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  if (got == 0) return false;
  const absl::string_view typed(buffer.data(), static_cast<size_t>(got));
  if (!options_.raw) return Send(typed);
  const EscapeKeys::Result result = keys_.Feed(typed);
  if (!result.bytes.empty() && !Send(result.bytes)) return false;
  switch (result.action) {
    case KeyAction::kNone:
      return true;
    case KeyAction::kHelp:
      (void)WriteAll(STDERR_FILENO, kHelp);
      return true;
    case KeyAction::kDetach:
      End(ConsoleEnd::kDetached);
      return false;
    case KeyAction::kStop:
      End(ConsoleEnd::kStopRequest);
      return false;
  }
  return false;
}

bool ConsoleSession::Send(absl::string_view bytes) {
  v1::ConsoleRequest request;
  request.set_input(std::string(bytes));
  return stream_->Write(request);
}

void ConsoleSession::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

void ConsoleSession::End(ConsoleEnd end) {
  end_.store(end);
  context_->TryCancel();
}

}  // namespace

absl::StatusOr<ConsoleEnd> RunConsole(Session& session, const ConsoleOptions& options) {
  return ConsoleSession(session, options).Run();
}

}  // namespace trapline::cli
