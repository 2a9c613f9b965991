// Recognise one raw frame with a bundle on OpenVINO, without partsight. Packages: openvino (its Python wheel holds the
// C++ headers and libraries) and nlohmann-json3-dev.
//
//   OPENVINO=$(python -c "import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent)")
//   g++ -std=c++17 -O2 -ffp-contract=off recognize.cpp -o recognize \
//       -I$OPENVINO/include $OPENVINO/libs/libopenvino.so.* -Wl,-rpath,$OPENVINO/libs
//   ./recognize FILE.onnx FRAME WIDTH HEIGHT
//
// FRAME is a file of WIDTH × HEIGHT pixels, row by row: 3 bytes a pixel, blue first, or 1 byte for a grey bundle.
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <openvino/openvino.hpp>

#include "prepare.hpp"

int main(int count, char** words) try {
    if (count != 5) throw std::invalid_argument("usage: recognize FILE.onnx FRAME WIDTH HEIGHT");
    ov::Core core;
    const auto model = core.read_model(words[1]);
    const auto bundle = nlohmann::json::parse(model->get_rt_info<std::string>("framework", "partsight.bundle"));
    if (bundle["schema_version"] != 1) throw std::invalid_argument("this program reads bundles of schema version 1");
    const auto& preprocess = bundle["preprocess"];

    Frame frame(std::stoi(words[4]), std::stoi(words[3]), preprocess["color"] == "mono" ? 1 : 3);
    std::ifstream file(words[2], std::ios::binary);
    const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    if (bytes.size() != frame.data.size()) throw std::invalid_argument("FRAME has another size than WIDTH × HEIGHT");
    std::copy(bytes.begin(), bytes.end(), frame.data.begin());
    if (const auto& region = preprocess["region"]; !region.is_null()) {
        const auto golden = preprocess.value("golden_hw", nlohmann::json());  // earlier bundles do not have it
        if (!golden.is_null() && (golden[0] != frame.height || golden[1] != frame.width))
            throw std::invalid_argument("FRAME has another size than the golden images");
        frame = crop(frame, region["x"], region["y"], region["width"], region["height"]);
    }
    const Frame small = resize(frame, preprocess["height"], preprocess["width"]);

    ov::Tensor input(ov::element::u8, {1, std::size_t(small.height), std::size_t(small.width), 3});  // one frame
    for (std::size_t i = 0; i < input.get_size(); i++)
        input.data<std::uint8_t>()[i] = small.data[small.channels == 3 ? i : i / 3];
    auto compiled = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32));
    auto request = compiled.create_infer_request();
    request.set_tensor("image_bgr", input);
    request.infer();

    const bool accepted = request.get_tensor("accepted").data<bool>()[0];
    const auto label_index = request.get_tensor("label_index").data<std::int64_t>()[0];
    const auto reason = request.get_tensor("reason").data<std::int64_t>()[0];
    nlohmann::ordered_json answer;
    answer["label"] = accepted ? bundle["labels"][label_index] : nlohmann::json();
    answer["agreement"] = request.get_tensor("agreement").data<float>()[0];
    answer["margin"] = request.get_tensor("margin").data<float>()[0];
    answer["accepted"] = accepted;
    answer["reason"] = std::vector{"recognised", "agrees_with_none", "two_parts_fit"}.at(reason);
    std::cout << answer << std::endl;
} catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
}
