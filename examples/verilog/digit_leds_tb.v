// Waits for the answer of digit_leds, and fails when it is not the digit given as +digit=N.
module digit_leds_tb #(
    parameter [12:0] LENGTH = 13'd4802
);
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;
  wire [3:0] digit;
  wire known;
  digit_leds #(.LENGTH(LENGTH)) dut (.clk(clk), .rst(rst), .digit(digit), .known(known));

  integer wanted, clocks = 0;
  initial if (!$value$plusargs("digit=%d", wanted)) wanted = -1;
  always @(posedge clk) begin
    clocks <= clocks + 1;
    if (clocks == 4) rst <= 0;
    if (known || clocks == 50000) begin
      if (known && digit == wanted) begin
        $display("PASS: the LEDs show %0d after %0d clocks", digit, clocks);
        $finish;
      end else begin
        $display("FAIL: known %b, the LEDs show %0d", known, digit);
        $finish_and_return(1);
      end
    end
  end
endmodule
