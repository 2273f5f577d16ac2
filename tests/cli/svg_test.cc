// SPDX-License-Identifier: Apache-2.0
// Parts of a picture: what stands in XML, and scales.
#include "cli/svg.h"

#include <tuple>

#include "gtest/gtest.h"

namespace trapline::cli {
namespace {

TEST(Svg, EscapesWhatXmlWouldRead) {
  EXPECT_EQ(XmlText("a<b & \"c\">'d'"), "a&lt;b &amp; &quot;c&quot;&gt;&apos;d&apos;");
  EXPECT_EQ(XmlText("\x02"), "?");
}

TEST(Svg, TheLogScaleBeginsBelowEveryBarAndEndsBehindIt) {
  const LogScale scale(100, 1001, 0, 300);
  EXPECT_EQ(scale.first(), 1);
  EXPECT_EQ(scale.last(), 4);
  EXPECT_DOUBLE_EQ(scale.At(10), 0);
  EXPECT_DOUBLE_EQ(scale.At(100), 100);
  EXPECT_DOUBLE_EQ(scale.At(10000), 300);
  EXPECT_DOUBLE_EQ(scale.At(0), 0) << "what cannot be shown has no length";
}

TEST(Svg, TheLinearScaleHasRoundTicks) {
  for (const auto& [most, step, top] :
       {std::tuple(0.0, 0.2, 1.0), std::tuple(10.0, 2.0, 10.0), std::tuple(11.0, 5.0, 15.0),
        std::tuple(60.0, 20.0, 60.0), std::tuple(0.3, 0.2, 1.0)}) {
    const LinearScale scale(most, 0, 100);
    EXPECT_DOUBLE_EQ(scale.step(), step) << most;
    EXPECT_DOUBLE_EQ(scale.top(), top) << most;
    EXPECT_DOUBLE_EQ(scale.At(top), 100);
  }
}

}  // namespace
}  // namespace trapline::cli
