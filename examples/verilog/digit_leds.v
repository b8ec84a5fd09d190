// A design of one's own around the generated core: at power-up it loads the weights and shows the core an image, both
// from a ROM, and then shows the answer on LEDs.
`default_nettype none

module digit_leds #(
    parameter [12:0] LENGTH = 13'd4802  // words of packets.hex: 4737 bytes of LOAD_WEIGHTS, 65 of INFER
) (
    input  wire       clk,
    input  wire       rst,
    output reg  [3:0] digit,  // what the image shows
    output reg        known   // there is an answer
);
  // ---- commands: a byte of the ROM after the other; bit 8 marks the last of a packet
  reg [8:0] packets [0:LENGTH-1];
  initial $readmemh("packets.hex", packets);

  reg [12:0] place;
  reg [8:0] command;
  reg command_valid;
  wire command_ready;
  always @(posedge clk) begin
    if (rst) begin
      place <= 0;
      command_valid <= 0;
    end else if (!command_valid || command_ready) begin
      command_valid <= place != LENGTH;
      if (place != LENGTH) begin
        command <= packets[place];
        place <= place + 13'd1;
      end
    end
  end

  // ---- replies: command, status, payload; of INFER (01) the payload begins with the prediction
  wire [7:0] reply;
  wire reply_last, reply_valid;
  reg [7:0] reply_command, reply_status;
  reg [1:0] index;  // of the reply's byte; 3 stands for all further ones
  always @(posedge clk) begin
    if (rst) begin
      index <= 0;
      known <= 0;
    end else if (reply_valid) begin
      index <= reply_last ? 2'd0 : index == 2'd3 ? 2'd3 : index + 2'd1;
      case (index)
        0: reply_command <= reply;
        1: reply_status <= reply;
        2: if (reply_command == 8'h01 && reply_status == 8'h00) begin
          digit <= reply[3:0];
          known <= 1;
        end
        default: ;
      endcase
    end
  end

  digits_core core (
      .clk(clk),
      .rst(rst),
      .commands_data(command[7:0]),
      .commands_last(command[8]),
      .commands_valid(command_valid),
      .commands_ready(command_ready),
      .replies_data(reply),
      .replies_last(reply_last),
      .replies_valid(reply_valid),
      .replies_ready(1'b1)
  );
endmodule

`default_nettype wire
