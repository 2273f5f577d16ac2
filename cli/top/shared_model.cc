// SPDX-License-Identifier: Apache-2.0
// The model as the threads that feed it and the one that shows it share it.
#include "cli/top/shared_model.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace trapline::cli::top {

SharedModel::SharedModel(absl::Duration interval)
    : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), model_(interval) {}

void SharedModel::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

void SharedModel::Drain() {
  uint64_t news = 0;
  (void)!read(wake_.get(), &news, sizeof news);
}

}  // namespace trapline::cli::top
