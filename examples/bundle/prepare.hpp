// Prepare a camera frame for a bundle without any library: rule "sampled-area" of docs/bundle.md.
// Compile with -ffp-contract=off for the same bytes on every processor.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

struct Frame {
    int height, width, channels;     // channels is 3, or 1 if the bundle's color is "mono"
    std::vector<std::uint8_t> data;  // height × width × channels bytes, row by row, blue first
    Frame(int h, int w, int c) : height(h), width(w), channels(c), data(std::size_t(h) * w * c) {}
    std::uint8_t& at(int y, int x, int c) { return data[(std::size_t(y) * width + x) * channels + c]; }
    int at(int y, int x, int c) const { return data[(std::size_t(y) * width + x) * channels + c]; }
};

inline int samples(double ratio) { return 1 << std::max(1, int(std::floor(std::log2(ratio / 1.1)))); }

// For each pixel of the result along one axis: index of the pixel before its centre, and weight of the next, of 2048.
inline std::vector<std::pair<int, int>> positions(int size, int count) {
    std::vector<std::pair<int, int>> result;
    for (int i = 0; i < count; i++) {
        const float centre = float((i + 0.5) * (double(size) / count) - 0.5), before = std::floor(centre);
        result.emplace_back(int(before), int(std::lrint((centre - before) * 2048)));
    }
    return result;
}

inline Frame bilinear(const Frame& frame, int height, int width) {
    Frame out(height, width, frame.channels);
    const auto down = positions(frame.height, height), across = positions(frame.width, width);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int top = std::max(down[y].first, 0), bottom = std::min(down[y].first + 1, frame.height - 1);
            const int left = std::max(across[x].first, 0), right = std::min(left + 1, frame.width - 1);
            const int weight = across[x].first < 0 || left == right ? 0 : across[x].second;
            for (int c = 0; c < frame.channels; c++) {
                const int upper = frame.at(top, left, c) * (2048 - weight) + frame.at(top, right, c) * weight;
                const int lower = frame.at(bottom, left, c) * (2048 - weight) + frame.at(bottom, right, c) * weight;
                const int above = (2048 - down[y].second) * (upper >> 4), below = down[y].second * (lower >> 4);
                out.at(y, x, c) = std::uint8_t(((above >> 16) + (below >> 16) + 2) >> 2);
            }
        }
    return out;
}

// For each pixel of the result along one axis: the pixels that it covers, and what share of it each of them is.
inline std::vector<std::vector<std::pair<int, float>>> shares(int size, int count) {
    std::vector<std::vector<std::pair<int, float>>> result(count);
    const double ratio = double(size) / count;
    for (int i = 0; i < count; i++)
        for (int j = int(i * ratio); j < size && j < (i + 1) * ratio; j++) {
            const double length = std::min(j + 1.0, (i + 1) * ratio) - std::max(double(j), i * ratio);
            if (length > 1e-3) result[i].emplace_back(j, float(length / ratio));
        }
    return result;
}

inline Frame area(const Frame& frame, int height, int width) {
    Frame out(height, width, frame.channels);
    const auto down = shares(frame.height, height), across = shares(frame.width, width);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < frame.channels; c++) {
                float sum = 0;
                for (const auto& [row, share] : down[y]) {
                    float line = 0;
                    for (const auto& [column, part] : across[x]) line += frame.at(row, column, c) * part;
                    sum += line * share;
                }
                out.at(y, x, c) = std::uint8_t(std::lrint(sum));  // half to even
            }
    return out;
}

// Resize a frame to height × width pixels.
inline Frame resize(const Frame& frame, int height, int width) {
    const int rows = frame.height, columns = frame.width;
    if (rows % 2 == 0 && columns % 2 == 0 && rows >= 4 * height && columns >= 4 * width)
        return resize(bilinear(frame, rows / 2, columns / 2), height, width);  // means of 2×2 pixels
    if (rows < height || columns < width) return bilinear(frame, height, width);
    if (rows < 2 * height || columns < 2 * width) return area(frame, height, width);
    Frame out = bilinear(frame, height * samples(double(rows) / height), width * samples(double(columns) / width));
    while (out.height > height || out.width > width)
        out = bilinear(out, std::max(out.height / 2, height), std::max(out.width / 2, width));
    return out;
}

inline Frame crop(const Frame& frame, int x, int y, int width, int height) {
    if (y + height > frame.height || x + width > frame.width)
        throw std::out_of_range("the frame is smaller than the bundle's region");
    Frame out(height, width, frame.channels);
    for (int row = 0; row < height; row++)
        std::copy_n(&frame.data[(std::size_t(y + row) * frame.width + x) * frame.channels],
                    std::size_t(width) * frame.channels, &out.at(row, 0, 0));
    return out;
}
