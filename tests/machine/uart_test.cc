// SPDX-License-Identifier: Apache-2.0
// The serial port (PC16550D datasheet, section 8).
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/machine/board.h"

namespace trapline::machine {
namespace {

// Registers; some are one for reading and another for writing.
constexpr uint16_t kData = 0, kIer = 1, kIir = 2, kFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6,
                   kScratch = 7;
constexpr uint8_t kReceive = 1, kTransmit = 2, kModem = 8;  // of IER
constexpr uint8_t kNone = 1, kIsTransmit = 2, kIsReceive = 4, kIsTimeout = 0xc, kIsModem = 0;
constexpr uint8_t kId = 0xf, kFifos = 0xc0;
constexpr uint8_t kDivisor = 0x80, kLoop = 0x10;
constexpr uint8_t kReady = 1, kOverrun = 2, kEmpty = 0x60;
constexpr uint8_t kClearReceive = 2;

// The line is high; by the I/O APIC, whose pin passes it on while it is.
class UartTest : public testing::Test {
 protected:
  uint8_t Get(uint16_t offset) { return board_.Com1(offset); }
  void Put(uint16_t offset, uint8_t value) { board_.Com1(offset, value); }
  bool Line() {
    constexpr uint32_t kLevel = 1 << 15, kMasked = 1 << 16;
    board_.Redirect(layout::kCom1Line, kMasked);  // clears the remote IRR
    board_.Redirect(layout::kCom1Line, kLevel | 0x44);
    bool high = board_.Take().has_value();
    board_.Redirect(layout::kCom1Line, kMasked);
    if (high) board_.Eoi();
    return high;
  }
  Board board_;
};

TEST_F(UartTest, StartsAsAfterAMasterReset) {
  EXPECT_EQ(Get(kIer), 0);
  EXPECT_EQ(Get(kIir), kNone);
  EXPECT_EQ(Get(kLcr), 0);
  EXPECT_EQ(Get(kMcr), 0);
  EXPECT_EQ(Get(kLsr), kEmpty);
  EXPECT_EQ(Get(kMsr) & 0xf, 0);
  EXPECT_FALSE(Line());
}

TEST_F(UartTest, SendsWhatIsWritten) {
  for (char c : std::string("guest\n")) Put(kData, static_cast<uint8_t>(c));
  EXPECT_EQ(board_.told().console, "guest\n");
  EXPECT_EQ(Get(kLsr) & kEmpty, kEmpty);
}

TEST_F(UartTest, ReceivesInOrder) {
  EXPECT_EQ(board_.platform.WriteConsole("ab"), 2u);
  EXPECT_TRUE(Get(kLsr) & kReady);
  EXPECT_EQ(Get(kData), 'a');
  EXPECT_TRUE(Get(kLsr) & kReady) << "one more";
  EXPECT_EQ(Get(kData), 'b');
  EXPECT_FALSE(Get(kLsr) & kReady);
}

TEST_F(UartTest, TakesAsMuchAsItsQueueHolds) {
  std::string input(Uart::kInputQueue - 1, 'x');
  EXPECT_EQ(board_.platform.WriteConsole(input), input.size());
  EXPECT_EQ(board_.platform.WriteConsole("yz"), 1u);
  EXPECT_EQ(board_.platform.WriteConsole("z"), 0u);
  EXPECT_FALSE(Get(kLsr) & kOverrun) << "nothing was lost";
  EXPECT_EQ(Get(kData), 'x');
  EXPECT_EQ(board_.platform.WriteConsole("z"), 1u) << "there is room again";
}

TEST_F(UartTest, NothingInterruptsUnlessEnabled) {
  board_.platform.WriteConsole("a");
  Put(kData, 'b');
  EXPECT_EQ(Get(kIir), kNone);
  EXPECT_FALSE(Line());
}

TEST_F(UartTest, AReceivedByteInterruptsUntilItIsRead) {
  Put(kIer, kReceive);
  EXPECT_FALSE(Line());
  board_.platform.WriteConsole("a");
  EXPECT_EQ(Get(kIir) & kId, kIsReceive);
  EXPECT_EQ(Get(kIir) & kId, kIsReceive) << "reading this register does not end it";
  EXPECT_TRUE(Line());
  Get(kData);
  EXPECT_EQ(Get(kIir) & kId, kNone);
  EXPECT_FALSE(Line());
}

TEST_F(UartTest, EnablingTheReceiverSpeaksOfWhatIsThere) {
  board_.platform.WriteConsole("a");
  Put(kIer, kReceive);
  EXPECT_TRUE(Line());
  Put(kIer, 0);
  EXPECT_FALSE(Line());
}

TEST_F(UartTest, AnEmptyTransmitterInterruptsWhenEnabled) {
  Put(kIer, kTransmit);
  EXPECT_TRUE(Line());
  EXPECT_EQ(Get(kIir) & kId, kIsTransmit);
  EXPECT_EQ(Get(kIir) & kId, kNone) << "identifying it ended it";
  EXPECT_FALSE(Line());
}

TEST_F(UartTest, AnEmptyTransmitterInterruptsAfterEachByte) {
  Put(kIer, kTransmit);
  Get(kIir);
  Put(kData, 'a');
  EXPECT_TRUE(Line());
  EXPECT_EQ(Get(kIir) & kId, kIsTransmit);
  EXPECT_FALSE(Line());
  Put(kIer, kTransmit);
  EXPECT_FALSE(Line()) << "it was enabled already";
}

TEST_F(UartTest, TheReceiverComesBeforeTheTransmitter) {
  Put(kIer, kReceive | kTransmit);
  board_.platform.WriteConsole("a");
  EXPECT_EQ(Get(kIir) & kId, kIsReceive);
  Get(kData);
  EXPECT_EQ(Get(kIir) & kId, kIsTransmit) << "which waited";
  EXPECT_EQ(Get(kIir) & kId, kNone);
}

TEST_F(UartTest, EnablingTheFifosShowsInTheIdentification) {
  EXPECT_EQ(Get(kIir) & kFifos, 0);
  Put(kFcr, 1);
  EXPECT_EQ(Get(kIir) & kFifos, kFifos);
  Put(kFcr, 0);
  EXPECT_EQ(Get(kIir) & kFifos, 0);
}

TEST_F(UartTest, ClearingTheReceiverEmptiesIt) {
  Put(kFcr, 1);
  Put(kIer, kReceive);
  board_.platform.WriteConsole("abc");
  Put(kFcr, 1 | kClearReceive);
  EXPECT_FALSE(Get(kLsr) & kReady);
  EXPECT_FALSE(Line());
  EXPECT_EQ(Get(kIir) & kFifos, kFifos);
}

TEST_F(UartTest, LeavingFifoModeEmptiesThem) {
  Put(kFcr, 1);
  board_.platform.WriteConsole("a");
  Put(kFcr, 0);
  EXPECT_FALSE(Get(kLsr) & kReady);
}

TEST_F(UartTest, OtherBitsOfTheFifoControlNeedItsFirst) {
  board_.platform.WriteConsole("a");
  Put(kFcr, kClearReceive);
  EXPECT_TRUE(Get(kLsr) & kReady) << "it was not programmed";
}

TEST_F(UartTest, LessThanTheTriggerTimesOut) {
  Put(kFcr, 0xc0 | 1);  // triggers at 14
  Put(kIer, kReceive);
  board_.platform.WriteConsole("a");
  EXPECT_TRUE(Line());
  EXPECT_EQ(Get(kIir) & kId, kIsTimeout) << "after four characters' time, which is none here";
}

TEST_F(UartTest, TheDivisorIsBehindItsLatch) {
  Put(kIer, 0);
  Put(kLcr, kDivisor | 3);
  Put(kData, 0x34);
  Put(kIer, 0x12);
  EXPECT_EQ(Get(kData), 0x34);
  EXPECT_EQ(Get(kIer), 0x12);
  Put(kLcr, 3);
  EXPECT_EQ(Get(kIer), 0) << "the interrupt enable register was not touched";
  EXPECT_EQ(board_.told().console, "") << "nor was anything sent";
  Put(kLcr, kDivisor);
  EXPECT_EQ(Get(kData), 0x34);
}

TEST_F(UartTest, RegistersKeepWhatCanBeWritten) {
  for (uint8_t value : {0x00, 0x5a, 0xff}) {
    Put(kScratch, value);
    EXPECT_EQ(Get(kScratch), value);
    Put(kIer, value);
    EXPECT_EQ(Get(kIer), value & 0xf);
    Put(kMcr, value);
    EXPECT_EQ(Get(kMcr), value & 0x1f);
    Put(kMcr, 0);
    Put(kLcr, value & 0x7f);
    EXPECT_EQ(Get(kLcr), value & 0x7f);
  }
}

TEST_F(UartTest, StatusRegistersCannotBeWritten) {
  uint8_t modem = Get(kMsr);
  Put(kLsr, 0);
  Put(kMsr, static_cast<uint8_t>(~modem));
  EXPECT_EQ(Get(kLsr), kEmpty);
  EXPECT_EQ(Get(kMsr), modem);
}

TEST_F(UartTest, LoopbackReceivesWhatItSends) {
  Put(kMcr, kLoop);
  Put(kIer, kReceive);
  Put(kData, 0xae);
  EXPECT_EQ(board_.told().console, "") << "nothing goes out";
  EXPECT_EQ(Get(kIir) & kId, kIsReceive);
  EXPECT_TRUE(Get(kLsr) & kReady);
  EXPECT_EQ(Get(kData), 0xae);
  Put(kMcr, 0);
  Put(kData, 'a');
  EXPECT_EQ(board_.told().console, "a");
}

TEST_F(UartTest, LoopbackBringsModemOutputsBackAsInputs) {
  struct {
    uint8_t output, input;
  } const pairs[] = {{1, 0x20}, {2, 0x10}, {4, 0x40}, {8, 0x80}};  // DTR RTS OUT1 OUT2
  for (auto [output, input] : pairs) {
    Put(kMcr, kLoop | output);
    EXPECT_EQ(Get(kMsr) & 0xf0, input) << +output;
  }
  Put(kMcr, kLoop);
  EXPECT_EQ(Get(kMsr) & 0xf0, 0);
}

TEST_F(UartTest, AModemInputThatChangedSaysSoOnce) {
  Put(kMcr, kLoop);
  Get(kMsr);
  Put(kMcr, kLoop | 2);
  EXPECT_EQ(Get(kMsr) & 0xf, 1) << "clear to send changed";
  EXPECT_EQ(Get(kMsr) & 0xf, 0);
  Put(kIer, kModem);
  Put(kMcr, kLoop);
  EXPECT_EQ(Get(kIir) & kId, kIsModem);
  EXPECT_TRUE(Line());
  Get(kMsr);
  EXPECT_FALSE(Line());
}

TEST_F(UartTest, ResetForgetsEverythingAndLowersTheLine) {
  Put(kIer, kReceive);
  board_.platform.WriteConsole("a");
  ASSERT_TRUE(Line());
  board_.platform.Reset();
  EXPECT_FALSE(Line());
  EXPECT_FALSE(Get(kLsr) & kReady);
  EXPECT_EQ(Get(kIer), 0);
}

}  // namespace
}  // namespace trapline::machine
