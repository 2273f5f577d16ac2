// SPDX-License-Identifier: Apache-2.0
// Sites and transitions as comma-separated values (RFC 4180): a heading line, then a row each.
//
// The columns stay as they are; new ones come behind them. Addresses and bytes are hexadecimal,
// times of the guest nanoseconds. Control characters are '?', so that a guest's symbols cannot
// write to a terminal.
#pragma once

#include <string>

#include "trapline/v1/sites.pb.h"

namespace trapline::cli {

std::string SiteCsvHeading();
std::string SiteCsvRow(const v1::Site& site);

std::string TransitionCsvHeading();
std::string TransitionCsvRow(const v1::SiteTransition& transition);

}  // namespace trapline::cli
