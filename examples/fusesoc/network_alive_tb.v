module network_alive_tb;
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;
  wire alive;
  network_alive dut (.clk(clk), .rst(rst), .alive(alive));

  integer clocks = 0;
  always @(posedge clk) begin
    clocks <= clocks + 1;
    if (clocks == 4) rst <= 0;
    if (alive) begin
      $display("PASS: the network answered after %0d clocks", clocks);
      $finish;
    end
    if (clocks == 1000) begin
      $display("FAIL: no answer");
      $finish_and_return(1);
    end
  end
endmodule
