// A design of one's own around a core that FuseSoC has generated: it asks for the core's status, and lights an LED when
// the answer is a good one.
`default_nettype none

module network_alive (
    input  wire clk,
    input  wire rst,
    output reg  alive
);
  reg asking;
  wire ready, valid, last;
  wire [7:0] data;
  reg [1:0] index;
  always @(posedge clk) begin
    if (rst) begin
      asking <= 1;
      index <= 0;
      alive <= 0;
    end else begin
      if (ready) asking <= 0;
      if (valid && index != 2) index <= index + 2'd1;
      if (valid && index == 1 && data == 8'h00) alive <= 1;  // the status: good
    end
  end

  my_network network (
      .clk(clk),
      .rst(rst),
      .commands_data(8'h06),  // STATUS, a packet of one byte
      .commands_last(1'b1),
      .commands_valid(asking && !rst),
      .commands_ready(ready),
      .replies_data(data),
      .replies_last(last),
      .replies_valid(valid),
      .replies_ready(1'b1)
  );

  wire unused = last;
endmodule

`default_nettype wire
