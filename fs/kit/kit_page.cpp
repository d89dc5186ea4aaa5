#include "fs/kit/kit_page.h"

#include <cairo-pdf.h>
#include <qrencode.h>

#include <algorithm>
#include <memory>

#include "fs/kit/shared_library.h"

namespace atl {

namespace {

// Points, 72 an inch. What is drawn stays within US Letter's height as well.
constexpr double page_width = 595.28;
constexpr double page_height = 841.89;
constexpr double margin = 50;
constexpr double bottom = 752;
constexpr double code_side = 204;
constexpr std::size_t word_columns = 3;
constexpr int quiet_modules = 4;

struct Cairo {
  decltype(cairo_pdf_surface_create_for_stream)* surface_create = nullptr;
  decltype(cairo_pdf_surface_set_metadata)* set_metadata = nullptr;
  decltype(cairo_surface_finish)* surface_finish = nullptr;
  decltype(cairo_surface_status)* surface_status = nullptr;
  decltype(cairo_surface_destroy)* surface_destroy = nullptr;
  decltype(cairo_create)* create = nullptr;
  decltype(cairo_status)* status = nullptr;
  decltype(cairo_destroy)* destroy = nullptr;
  decltype(cairo_select_font_face)* select_font_face = nullptr;
  decltype(cairo_set_font_size)* set_font_size = nullptr;
  decltype(cairo_text_extents)* text_extents = nullptr;
  decltype(cairo_set_source_rgb)* set_source_rgb = nullptr;
  decltype(cairo_move_to)* move_to = nullptr;
  decltype(cairo_show_text)* show_text = nullptr;
  decltype(cairo_rectangle)* rectangle = nullptr;
  decltype(cairo_fill)* fill = nullptr;
  decltype(cairo_show_page)* show_page = nullptr;

  static Result<Cairo> load() {
    auto library = SharedLibrary::open("libcairo.so.2", "libcairo2");
    if (!library) return fail(library.error());
    Cairo c;
    const bool whole = library->find("cairo_pdf_surface_create_for_stream", c.surface_create) &&
                       library->find("cairo_pdf_surface_set_metadata", c.set_metadata) &&
                       library->find("cairo_surface_finish", c.surface_finish) && library->find("cairo_surface_status", c.surface_status) &&
                       library->find("cairo_surface_destroy", c.surface_destroy) && library->find("cairo_create", c.create) &&
                       library->find("cairo_status", c.status) && library->find("cairo_destroy", c.destroy) &&
                       library->find("cairo_select_font_face", c.select_font_face) && library->find("cairo_set_font_size", c.set_font_size) &&
                       library->find("cairo_text_extents", c.text_extents) && library->find("cairo_set_source_rgb", c.set_source_rgb) &&
                       library->find("cairo_move_to", c.move_to) && library->find("cairo_show_text", c.show_text) &&
                       library->find("cairo_rectangle", c.rectangle) && library->find("cairo_fill", c.fill) &&
                       library->find("cairo_show_page", c.show_page);
    if (!whole) return fail(Code::unsupported, "libcairo is too old to write a recovery kit", "version 1.16 or newer is needed");
    return c;
  }
};

/// The modules of a QR code, row by row.
struct Code2d {
  int side = 0;
  std::vector<bool> dark;
};

Result<Code2d> encode(const std::string& text) {
  auto library = SharedLibrary::open("libqrencode.so.4", "libqrencode4");
  if (!library) return fail(library.error());
  decltype(QRcode_encodeString8bit)* encode_8bit = nullptr;
  decltype(QRcode_free)* free_code = nullptr;
  if (!library->find("QRcode_encodeString8bit", encode_8bit) || !library->find("QRcode_free", free_code))
    return fail(Code::unsupported, "libqrencode is too old to write a recovery kit", "version 4 is needed");
  // Paper gets stains: the second of four levels where it fits.
  for (const QRecLevel level : {QR_ECLEVEL_M, QR_ECLEVEL_L}) {
    const std::unique_ptr<QRcode, decltype(QRcode_free)*> code(encode_8bit(text.c_str(), 0, level), free_code);
    if (!code) continue;
    Code2d result;
    result.side = code->width;
    for (int i = 0; i < code->width * code->width; ++i) result.dark.push_back((code->data[i] & 1) != 0);
    return result;
  }
  return fail(Code::too_large, "the recovery kit does not fit into a QR code: its keys were rotated too often", "write it as text instead: --text FILE");
}

class Page {
 public:
  Page(const Cairo& cairo, cairo_t* context) : c_(cairo), context_(context) {}

  void font(const char* family, double size, bool bold = false) {
    c_.select_font_face(context_, family, CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    c_.set_font_size(context_, size);
    size_ = size;
  }
  void colour(double grey) { c_.set_source_rgb(context_, grey, grey, grey); }
  double width(const std::string& text) const {
    cairo_text_extents_t extents;
    c_.text_extents(context_, text.c_str(), &extents);
    return extents.x_advance;
  }
  void at(double x, double down, const std::string& text) {
    c_.move_to(context_, x, down);
    c_.show_text(context_, text.c_str());
  }
  /// Smaller where it would not fit: an address is one token and is not broken.
  void fit(double x, double down, double room, const std::string& text) {
    const double before = size_;
    const double needed = width(text);
    if (needed > room) c_.set_font_size(context_, before * room / needed);
    at(x, down, text);
    c_.set_font_size(context_, before);
  }
  void box(double x, double down, double w, double h) {
    c_.rectangle(context_, x, down, w, h);
    c_.fill(context_);
  }
  /// Lines broken at spaces.
  void paragraph(const std::string& text, double room, double leading) {
    std::string line;
    std::size_t from = 0;
    while (from < text.size()) {
      std::size_t to = text.find(' ', from);
      if (to == std::string::npos) to = text.size();
      const std::string word = text.substr(from, to - from);
      const std::string longer = line.empty() ? word : line + " " + word;
      if (!line.empty() && width(longer) > room) {
        at(margin, y, line);
        y += leading;
        line = word;
      } else {
        line = longer;
      }
      from = to + 1;
    }
    at(margin, y, line);
    y += leading;
  }
  void marker(const std::string& text) {
    room_for(28);
    font("monospace", 9, true);
    colour(0.35);
    at(margin, y, text);
    colour(0);
    y += 14;
  }
  void room_for(double height) {
    if (y + height <= bottom) return;
    c_.show_page(context_);
    y = margin + 10;
  }

  double y = margin;

 private:
  const Cairo& c_;
  cairo_t* context_;
  double size_ = 0;
};

void draw(Page& page, const KitPieces& pieces, const Code2d& code) {
  const double room = page_width - 2 * margin;
  page.colour(0);
  page.box(margin, page.y, room, 2);
  page.y += 28;
  page.font("sans-serif", 21, true);
  page.at(margin, page.y, pieces.title);
  page.y += 19;
  page.font("sans-serif", 10.5, true);
  page.at(margin, page.y, "Keep this page secret, and keep it safe.");
  page.y += 18;
  page.font("sans-serif", 8.6);
  page.paragraph(
      "It opens the drive named below. Whoever has this page can read everything that was saved there, and nobody can bring the drive "
      "back without it once the computer is lost. No company and no person can replace it. Keep it away from the computer; a second "
      "copy in another building is wise. Once it is printed, delete the file that it was printed from.",
      room, 11.4);
  page.y += 4;
  page.paragraph(
      "When to use it: the computer is gone, its disk is broken, or the passphrase is forgotten. Install atoll on any Linux computer that "
      "can reach some of the nodes below; one suffices to find the others. Run atoll recover --kit - and paste what a phone reads from the "
      "square code, or type what stands below when you are asked for it: a mistake is pointed out at once. A file works as well, "
      "atoll recover --kit FILE, be it this page's PDF or its text.",
      room, 11.4);
  page.y += 12;

  const double top = page.y;
  {
    const double code_x = page_width - margin - code_side;
    const double module = code_side / (code.side + 2 * quiet_modules);
    // Runs of dark modules as one box each: neighbouring boxes would show hairlines.
    for (int row = 0; row < code.side; ++row) {
      for (int column = 0; column < code.side;) {
        const auto dark = [&](int i) { return code.dark[static_cast<std::size_t>(row) * static_cast<std::size_t>(code.side) + static_cast<std::size_t>(i)]; };
        int end = column;
        while (end < code.side && dark(end)) ++end;
        if (end > column) page.box(code_x + (column + quiet_modules) * module, top - 16 + (row + quiet_modules) * module, (end - column) * module, module);
        column = std::max(end, column + 1);
      }
    }
  }
  const double left = room - code_side - 8;
  page.marker("[drive]");
  page.font("monospace", 10);
  page.fit(margin, page.y, left, pieces.drive);
  page.y += 19;
  page.marker("[volume]");
  page.font("monospace", 9);
  page.fit(margin, page.y, left, pieces.volume);
  page.y += 19;
  page.marker("[words]");
  page.font("monospace", 10.5);
  const std::size_t rows = (pieces.words.size() + word_columns - 1) / word_columns;
  for (std::size_t i = 0; i < pieces.words.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    const double x = margin + static_cast<double>(i / rows) * left / word_columns;
    page.at(x, page.y + static_cast<double>(i % rows) * 14.5, std::string(number.size() < 2 ? 1 : 0, ' ') + number + ". " + pieces.words[i]);
  }
  page.y = std::max(page.y + static_cast<double>(rows) * 14.5, top - 16 + code_side) + 6;

  page.marker("[nodes]");
  for (std::size_t i = 0; i < pieces.nodes.size(); ++i) {
    page.room_for(24);
    page.font("monospace", 9);
    page.fit(margin, page.y, room, (i < 9 ? " " : "") + std::to_string(i + 1) + ". " + pieces.nodes[i].url);
    page.y += 10.5;
    page.font("monospace", 8);
    std::string digits = "id";
    for (const std::string& line : pieces.nodes[i].digits) digits += " " + line;
    page.fit(margin + 20, page.y, room - 20, digits);
    page.y += 13.5;
  }
  page.y += 5;
  page.marker("[keyring]");
  for (std::size_t i = 0; i < pieces.keyring.size(); ++i) {
    page.room_for(12);
    page.font("monospace", 9);
    page.at(margin, page.y, (i < 9 ? " " : "") + std::to_string(i + 1) + ". " + pieces.keyring[i]);
    page.y += 12;
  }
  page.y += 7;
  page.marker("[end]");
}

}  // namespace

Result<std::string> kit_page_pdf(const RecoveryKit& kit) {
  const auto cairo = Cairo::load();
  if (!cairo) return fail(cairo.error());
  const std::string text = kit_code_text(kit);
  const auto code = encode(text);
  if (!code) return fail(code.error());

  std::string pdf;
  const auto append = [](void* to, const unsigned char* bytes, unsigned int count) {
    static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(bytes), count);
    return CAIRO_STATUS_SUCCESS;
  };
  const std::unique_ptr<cairo_surface_t, decltype(cairo_surface_destroy)*> surface(cairo->surface_create(append, &pdf, page_width, page_height),
                                                                                  cairo->surface_destroy);
  cairo->set_metadata(surface.get(), CAIRO_PDF_METADATA_TITLE, "Atoll recovery kit");
  // What parse_kit looks for: so that the file is a kit as well as its print.
  cairo->set_metadata(surface.get(), CAIRO_PDF_METADATA_KEYWORDS, text.c_str());
  {
    const std::unique_ptr<cairo_t, decltype(cairo_destroy)*> context(cairo->create(surface.get()), cairo->destroy);
    Page page(*cairo, context.get());
    draw(page, kit_pieces(kit), *code);
    cairo->show_page(context.get());
    if (cairo->status(context.get()) != CAIRO_STATUS_SUCCESS) return fail(Code::failed, "the page of the recovery kit could not be drawn");
  }
  cairo->surface_finish(surface.get());
  if (cairo->surface_status(surface.get()) != CAIRO_STATUS_SUCCESS) return fail(Code::failed, "the page of the recovery kit could not be drawn");
  return pdf;
}

}  // namespace atl
