// The ECP5's block RAM, after Lattice FPGA-TN-02204: true dual port with up to 18 bits, and pseudo dual port with 36,
// written by port A and read by port B. What is simulated is what synthesis asks for: rising edges, no
// reset, no chip select, and writes during which the port's own answer stays (WRITEMODE NORMAL) or is the old word
// (READBEFOREWRITE); another setting stops the simulation. A word that one port reads while the other writes it is read
// as it was.
//
// Content: 1,024 words of 18 bits. A narrower port takes a part of a word: with 9 bits a half; with fewer, a part of a
// half's lower eight. From 18 bits on, the lowest address bits are byte enables of a write.
module DP16KD (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
    DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1,
    DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1,
    DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1,
    DOB0
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "ENABLED";
  parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0;
  parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0;
  parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
  parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0;
  parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0;
  parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
  parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0;
  parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0;
  parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
  parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0;
  parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0;
  parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
  parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0;
  parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0;
  parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
  parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;

  // Sixteen words of 20 bits each, of which 18 are the word.
  localparam [64*320-1:0] CONTENT = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
    INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
    INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
    INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
    INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
    INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
    INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00};

  reg [17:0] words [0:1023];
  integer index;
  initial begin
    for (index = 0; index < 1024; index = index + 1)
      words[index] = CONTENT[20 * index +: 18];
    if (WRITEMODE_A == "WRITETHROUGH" || WRITEMODE_B == "WRITETHROUGH" || CLKAMUX != "CLKA" || CLKBMUX != "CLKB"
        || CSDECODE_A != "0b000" || CSDECODE_B != "0b000"
        || (DATA_WIDTH_B == 36 && REGMODE_B != "NOREG")) begin
      $display("DP16KD: a setting that the model does not know");
      $stop;
    end
  end

  wire [13:0] address_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [17:0] in_a = {
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
    DIA0};
  wire [13:0] address_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [17:0] in_b = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1,
    DIB0};
  wire [35:0] in_wide = {in_b, in_a};

  // Place of a narrow port's part within its word.
  function automatic [4:0] place(input integer width, input [3:0] low);
    place = width >= 18 ? 0 : (low[3] ? 9 : 0) + (width <= 4 && low[2] ? 4 : 0) + (width <= 2 && low[1] ? 2 : 0)
      + (width == 1 && low[0] ? 1 : 0);
  endfunction

  function automatic [17:0] mask(input integer width, input [3:0] low);
    mask = width >= 18 ? {{9{low[1]}}, {9{low[0]}}} : ((18'd1 << width) - 18'd1) << place(width, low);
  endfunction

  reg [17:0] read_a = 0, read_b = 0, upper = 0, registered_a = 0, registered_b = 0;

  wire [17:0] mask_a = mask(DATA_WIDTH_A, address_a[3:0]);
  always @(posedge CLKA) begin
    if (CEA && WEA) begin
      if (DATA_WIDTH_A == 36) begin
        words[{address_a[13:5], 1'b0}] <= words[{address_a[13:5], 1'b0}] & ~mask(18, {2'b0, address_a[1:0]})
          | in_wide[17:0] & mask(18, {2'b0, address_a[1:0]});
        words[{address_a[13:5], 1'b1}] <= words[{address_a[13:5], 1'b1}] & ~mask(18, {2'b0, address_a[3:2]})
          | in_wide[35:18] & mask(18, {2'b0, address_a[3:2]});
      end else
        words[address_a[13:4]] <= words[address_a[13:4]] & ~mask_a
          | (in_a << place(DATA_WIDTH_A, address_a[3:0])) & mask_a;
    end
    if (CEA && (!WEA || WRITEMODE_A == "READBEFOREWRITE"))
      read_a <= words[address_a[13:4]] >> place(DATA_WIDTH_A, address_a[3:0]);
    if (OCEA)
      registered_a <= read_a;
  end

  wire [17:0] mask_b = mask(DATA_WIDTH_B, address_b[3:0]);
  always @(posedge CLKB) begin
    if (CEB && WEB) begin
      words[address_b[13:4]] <= words[address_b[13:4]] & ~mask_b
          | (in_b << place(DATA_WIDTH_B, address_b[3:0])) & mask_b;
    end
    if (CEB && DATA_WIDTH_B == 36) begin
      read_b <= words[{address_b[13:5], 1'b0}];
      upper <= words[{address_b[13:5], 1'b1}];
    end
    if (CEB && (!WEB || WRITEMODE_B == "READBEFOREWRITE") && DATA_WIDTH_B != 36)
      read_b <= words[address_b[13:4]] >> place(DATA_WIDTH_B, address_b[3:0]);
    if (OCEB)
      registered_b <= read_b;
  end

  wire [17:0] out_a = REGMODE_A == "OUTREG" ? registered_a : read_a;
  wire [17:0] out_b = REGMODE_B == "OUTREG" ? registered_b : read_b;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1,
    DOA0}
    = DATA_WIDTH_B == 36 ? read_b : out_a;
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1,
    DOB0}
    = DATA_WIDTH_B == 36 ? upper : out_b;
endmodule
