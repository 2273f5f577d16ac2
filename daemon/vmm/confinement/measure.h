// SPDX-License-Identifier: Apache-2.0
// What became of one measure of confinement, as the API tells it.
#pragma once

#include <string>

#include "trapline/v1/vms.pb.h"

namespace trapline::daemon {

using Measure = v1::Confinement::Measure;

inline Measure MakeMeasure(const std::string& name, Measure::State state,
                           const std::string& detail) {
  Measure measure;
  measure.set_name(name);
  measure.set_state(state);
  measure.set_detail(detail);
  return measure;
}

}  // namespace trapline::daemon
